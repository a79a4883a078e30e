#!/bin/sh
# Puts the smallest set of inputs that reach all that is reached, of those kept and those found lately, in place of the
# kept ones. Inputs with a name of their own (seeds, and what was found once) stay.
set -eu
cd "$(dirname "$0")"
most=${MOST:-40}
host=$(rustc -vV | sed -n 's/^host: //p')
for name in ${*:-$(ls corpus)}; do
    found="target/found/$name" fresh="target/fresh/$name" kept="corpus/$name"
    rm -rf "$fresh"
    mkdir -p "$fresh" "$found"
    "target/$host/release/$name" -merge=1 -rss_limit_mb=1500 -max_len=1024 "$fresh" "$kept" "$found" 2>/dev/null
    find "$kept" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
    # The most telling are the largest, but a corpus is small.
    find "$fresh" -type f -size -3 -printf '%s %p\n' | sort -rn | awk -v most="$most" 'NR <= most {print $2}' |
        while read -r input; do cp "$input" "$kept/"; done
    echo "$name: $(find "$kept" -type f | wc -l) inputs"
done
