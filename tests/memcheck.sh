#!/usr/bin/env bash
# The store under valgrind's memcheck: those of its tests that move, grow and free entries in every way. All that is unsafe in
# the library is a hint to the processor, but its tables and small vectors are made by crates that have more. Any invalid access, any use of
# what was never written and any block that is lost fails.
#
# MEMCHECK_ASAN=1 runs the same tests under AddressSanitizer as well, which needs a nightly toolchain and a build of its
# own.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "memcheck needs valgrind: apt-get install valgrind" >&2
        exit 1
    fi
    tests/retry.sh apt-get update -q
    DEBIAN_FRONTEND=noninteractive tests/retry.sh apt-get install -q -y --no-install-recommends valgrind
fi

# Everything is some thirty times slower here; of the model, one run is enough, and what only counts hits is left out, as are
# floods of entries.
filters=(store::entry:: store::depot:: store::arena::tests::a_ store::evict:: store::tests::aliases::a_ store::tests::aliases::reads
    store::tests::memory::a_panic store::tests::memory::flushing_gives store::tests::memory::what_a_slot
    store::tests::memory::what_is_foreseen store::tests::model:: --skip the_duel_finds_out)
export CLOAKROOM_SEED="${CLOAKROOM_SEED:-1}" RUST_BACKTRACE=0

# Prints the path of the library's test binary, freshly built.
build() {
    "${CARGO:-cargo}" "$@" --locked --lib --no-run --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

# Runs what the filters choose, and fails when that is suspiciously little.
check() { # command...
    local log
    log=$(mktemp)
    "$@" --test-threads=1 "${filters[@]}" 2>&1 | tee "$log"
    local passed
    passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$log")
    rm -f "$log"
    if [ "${passed:-0}" -lt 15 ]; then
        echo "memcheck: only ${passed:-0} tests ran; the filters no longer fit" >&2
        exit 1
    fi
}

# The binary that `make unit` has built already.
check valgrind --quiet --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite,indirect \
    --show-leak-kinds=definite,indirect "$(build test)"

if [ "${MEMCHECK_ASAN:-0}" = 1 ]; then
    target=$(rustc -vV | sed -n 's/^host: //p')
    export RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR="target/asan" CARGO_BUILD_TARGET="$target"
    # What is written in C would have to be built for it as well.
    check "$(build +nightly test --no-default-features)"
fi
