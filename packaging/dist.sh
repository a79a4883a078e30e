#!/usr/bin/env bash
# Everything that is given away, into dist/: an archive with a static binary for each of TARGETS (those of this machine and of
# aarch64), a Debian package of the binary of `make`, and SHA256SUMS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
packaging/tools.sh zig deb
export PATH=$PWD/target/packaging/venv/bin:$PATH
version=$(sed -nE 's/^version = "(.*)"$/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist
mkdir dist

for target in "${targets[@]}"; do
    name=cloakroom-$version-${target%-unknown-linux-musl}-linux
    packaging/static.sh "$work/$name" "$target"
    cp README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE packaging/cloakroom.service packaging/cloakroom.toml "$work/$name"
    cp -r docs "$work/$name"
    # What the binary says of itself, where it does.
    if [ "${target%%-*}" = "$(uname -m)" ]; then
        "$work/$name/cloakroom" man >"$work/cloakroom.1" 2>/dev/null || rm -f "$work/cloakroom.1"
        mkdir -p "$work/completions"
        for shell in bash zsh fish; do
            "$work/$name/cloakroom" completions $shell >"$work/completions/cloakroom.$shell" 2>/dev/null \
                || rm -f "$work/completions/cloakroom.$shell"
        done
        rmdir --ignore-fail-on-non-empty "$work/completions"
    fi
    for extra in cloakroom.1 completions; do
        [ ! -e "$work/$extra" ] || cp -r "$work/$extra" "$work/$name"
    done
    # The same files give the same archive.
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -cf - "$name" \
        | gzip -9n >"dist/$name.tar.gz"
done

cat >target/packaging/changelog <<END
cloakroom ($version-1) unstable; urgency=medium

  * /usr/share/doc/cloakroom/CHANGELOG.md says what is new.

 -- The cloakroom authors <maintainers@cloakroom.example>  $(git log -1 --format=%cD)
END
target/packaging/cargo/bin/cargo-deb --no-build --strip --quiet --output dist/
(cd dist && sha256sum -- *.tar.gz *.deb >SHA256SUMS)
ls -l dist
