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

# What the binary says of itself.
binary=target/release/cloakroom
mkdir -p target/packaging/completions
"$binary" man >target/packaging/cloakroom.1
for shell in bash zsh fish; do "$binary" completions $shell >target/packaging/completions/cloakroom.$shell; done

for target in "${targets[@]}"; do
    name=cloakroom-$version-${target%-unknown-linux-musl}-linux
    packaging/static.sh "$work/$name" "$target"
    cp README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE packaging/cloakroom.service packaging/cloakroom.toml "$work/$name"
    cp -r docs "$work/$name"
    cp -r target/packaging/cloakroom.1 target/packaging/completions "$work/$name"
    # The same files give the same archive.
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -cf - "$name" \
        | gzip -9n >"dist/$name.tar.gz"
done

cat >target/packaging/changelog <<END
cloakroom ($version-1) unstable; urgency=medium

  * /usr/share/doc/cloakroom/changelog.gz says what is new.

 -- The cloakroom authors <maintainers@cloakroom.example>  $(git log -1 --format=%cD)
END
gzip -9n <CHANGELOG.md >target/packaging/changelog.gz
target/packaging/cargo/bin/cargo-deb --no-build --strip --quiet --output dist/
(cd dist && sha256sum -- *.tar.gz *.deb >SHA256SUMS)
ls -l dist
