#!/bin/sh
# Runs a command that downloads, and where it fails twice more, each time after a longer pause: on a bad day a registry refuses
# or cuts off one call in some hundreds.
set -u
for pause in 5 20; do
    "$@" && exit 0
    echo "again in $pause s, as it left with $?: $*" >&2
    sleep "$pause"
done
exec "$@"
