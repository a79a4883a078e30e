#!/usr/bin/env bash
# What packages are built with and checked by, as packaging/requirements.txt pins it, in target/packaging. `deb` brings cargo-deb
# beside it, which takes a minute to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/packaging
stamp=$tools/venv/.installed
sum=$(sha256sum <packaging/requirements.txt)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$sum" ]; then
    mkdir -p "$tools"
    python3 -m venv --clear "$tools/venv"
    "$tools/venv/bin/pip" --quiet --disable-pip-version-check install -r packaging/requirements.txt
    echo "$sum" >"$stamp"
fi
if [ "${1:-}" = deb ] && ! "$tools/cargo/bin/cargo-deb" --version 2>/dev/null | grep -qx 3.8.0; then
    cargo install --locked --quiet --debug --root "$tools/cargo" --version 3.8.0 cargo-deb
fi
