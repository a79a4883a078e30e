#!/usr/bin/env bash
# Fuzzes each target for T seconds (60), or the ones that are named, as many at a time as there are cores. Needs no nightly: the
# targets are built without sanitizers, which would find nothing in safe code and need one. cargo-fuzz is installed when it is
# missing. With SEED=1 the same code gets the same inputs, for as far as time allows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/target/tools/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH" T="${T:-60}" SEED="${SEED:-0}"
cargo fuzz --version >/dev/null 2>&1 || tests/retry.sh cargo install --locked --quiet --debug --root target/tools cargo-fuzz
cargo fuzz build --sanitizer none

one() { # target
    local name=$1
    local found="fuzz/target/found/$name" log="fuzz/target/$name.log"
    mkdir -p "$found"
    # New inputs go to a folder that is not kept; `fuzz/keep.sh` takes over the smallest set of them.
    if ! cargo fuzz run --sanitizer none "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$T" -seed="$SEED" -timeout=10 -rss_limit_mb=1500 -print_final_stats=1 >"$log" 2>&1; then
        printf '%s\n' "$name: something was found, or it did not run:" "$(tail -40 "$log")"
        return 1
    fi
    local runs cov
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cov=$(sed -n 's/.*\(cov: [0-9]*\).*/\1/p' "$log" | tail -1)
    # A target that did nothing has shown nothing.
    [ "${runs:-0}" -gt 0 ] || { echo "$name: no input was run"; return 1; }
    echo "$name: $runs runs, $cov, nothing found"
}
export -f one
mapfile -t targets < <(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else cargo fuzz list; fi)
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz target was found"; exit 1; }
# xargs fails when one of them does, after all have run.
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'one "$1"' one {} || { echo "a fuzz target failed"; exit 1; }
