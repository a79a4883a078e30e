#!/usr/bin/env bash
# Whether it compiles for systems that it is not tested on: cargo check for Windows, both Macs and Linux on ARM. C code is compiled
# as well, by mingw for Windows and zig for the others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packaging/tools.sh zig
export PATH=$PWD/target/packaging/venv/bin:$PATH
if ! command -v x86_64-w64-mingw32-gcc >/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "install gcc-mingw-w64-x86-64" >&2; exit 1; }
    tests/retry.sh apt-get update -q && DEBIAN_FRONTEND=noninteractive tests/retry.sh apt-get install -q -y --no-install-recommends gcc-mingw-w64-x86-64
fi
for target in x86_64-pc-windows-gnu x86_64-apple-darwin aarch64-apple-darwin aarch64-unknown-linux-musl; do
    rustup target list --installed | grep -qx "$target" || rustup target add "$target"
    case $target in
        *windows*) cargo check --locked --quiet --target "$target" ;;
        *) cargo-zigbuild check --locked --quiet --target "$target" ;;
    esac
    echo "$target: compiles"
done
