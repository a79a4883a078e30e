#!/usr/bin/env bash
# One binary that needs nothing of the system it runs on: packaging/static.sh FOLDER [TARGET]
#
# TARGET is x86_64-unknown-linux-musl or aarch64-unknown-linux-musl; without one, that of this machine. Another machine's needs
# cargo-zigbuild, and this one's musl-gcc. The Dockerfile and `make dist` build with this very script.
set -euo pipefail
folder=$(realpath -m "${1:?a folder for the binary}")
own=$(uname -m)-unknown-linux-musl
target=${2:-$own}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What an image may weigh with it and the certificates of authorities.
BYTES_MAX=$((14 * 1024 * 1024))

die() { echo "static.sh: $*" >&2; exit 1; }

rustup target list --installed | grep -qx "$target" || rustup target add "$target"
if [ "$target" = "$own" ]; then
    TARGET_CC=musl-gcc cargo build --profile dist --locked --target "$target"
else
    # The one program that lies there, as a PATH that pip and others fill says little.
    cargo-zigbuild zigbuild --profile dist --locked --target "$target"
fi
built=${CARGO_TARGET_DIR:-target}/$target/dist/cloakroom
if readelf --program-headers "$built" | grep -q INTERP; then die "$built asks for an interpreter: it is not static"; fi
if readelf --dynamic "$built" | grep -q NEEDED; then die "$built needs libraries: it is not static"; fi
bytes=$(stat -c %s "$built")
[ "$bytes" -le "$BYTES_MAX" ] || die "$built has $bytes bytes, more than $BYTES_MAX"
install -D -m 755 "$built" "$folder/cloakroom"
echo "$folder/cloakroom: $target, static, $bytes bytes"
