#!/usr/bin/env bash
# Stands where Redis' test suite expects src/redis-server: takes its redis.conf and arguments, and prints what it waits for.
# The HTTP door gets a port of its own, as servers of the suite run side by side.
set -euo pipefail
exec "$CLOAKROOM_BIN" "$@" --http-port 0
