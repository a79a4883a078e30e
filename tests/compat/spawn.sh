#!/usr/bin/env bash
# Stands where Redis' test suite expects src/redis-server: takes its redis.conf and arguments, and prints what it waits for,
# once the server has had the time to open its port. The HTTP door gets a port of its own, as servers of the suite run side
# by side.
set -euo pipefail
{ sleep 0.2 && echo " PID: $$ Ready to accept connections"; } &
exec "$CLOAKROOM_BIN" "$@" --http-port 0
