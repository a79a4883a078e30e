#!/bin/sh
# Fuzzes each target for T seconds (60), or the ones that are named. Needs no nightly: the targets are built without
# sanitizers, which would find nothing in safe code and need one. cargo-fuzz is installed when it is missing.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/target/tools/bin:${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet --root target/tools cargo-fuzz
cargo fuzz build --sanitizer none
failed=
for name in ${*:-$(cargo fuzz list)}; do
    found="fuzz/target/found/$name" log="fuzz/target/$name.log"
    mkdir -p "$found"
    # New inputs go to a folder that is not kept; `fuzz/keep.sh` takes over the smallest set of them.
    if cargo fuzz run --sanitizer none "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="${T:-60}" -timeout=10 -rss_limit_mb=1500 -print_final_stats=1 >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "$name: $runs runs, $(sed -n 's/.*\(cov: [0-9]*\).*/\1/p' "$log" | tail -1), nothing found"
    else
        echo "$name: something was found, or it did not run:"
        tail -40 "$log"
        failed="$failed $name"
    fi
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
