#!/usr/bin/env bash
# Makes sure that the programs which the tests drive are there: installs the missing ones from Debian when run as root,
# and says what to install when not.
set -euo pipefail

packages=()
need() { # program package
    command -v "$1" >/dev/null 2>&1 || packages+=("$2")
}
need redis-server redis-server
need redis-cli redis-tools
need redis-benchmark redis-tools
need curl curl
need openssl openssl
need tclsh tcl
need nginx nginx
need caddy caddy
need valgrind valgrind
need chromium chromium
need python3 python3
need musl-gcc musl-tools
need strace strace
need systemd-analyze systemd
need groff groff-base
# cargo-deb asks it what the package depends on, and without it says nothing.
need dpkg-shlibdeps dpkg-dev
need script bsdutils
# libFuzzer is C++.
need c++ g++
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)

[ ${#packages[@]} -gt 0 ] || exec "$(dirname "${BASH_SOURCE[0]}")/node.sh"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests need these Debian packages: ${packages[*]}" >&2
    exit 1
fi
# Installing a server must not start it: the tests start their own, on ports of their own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
retry=$(dirname "${BASH_SOURCE[0]}")/retry.sh
"$retry" apt-get update -q
"$retry" apt-get install -q -y --no-install-recommends "${packages[@]}"
"$(dirname "${BASH_SOURCE[0]}")/node.sh"
