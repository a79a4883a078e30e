#!/usr/bin/env bash
# Real clients against a running server: ioredis, node-redis, redis-py, redis-rb, phpredis,
# redigo, Perl's two, redis-cli, redis-benchmark, the session and cache stores of Express, Django,
# Rails, Laravel, Go and PHP and Sidekiq's queues on top of them, and the README's own lines; and
# nginx, Caddy, Envoy and Traefik by docs/recipes, docs/openapi.yaml, what the other pages of
# docs/ say, better-auth behind its profile, Auth.js in Express behind base-path, and OTLP by OpenTelemetry's own schema.
#
#   CLOAKROOM_BIN=target/debug/cloakroom tests/clients/run.sh [PROGRAM …]
#   SERVER=127.0.0.1:6379 AUTH_SERVER=127.0.0.1:6380 AUTH_PASSWORD=… tests/clients/run.sh
#
# The second form takes servers that already run, so that the checks themselves
# can be judged by a real Redis: all of them hold there too. With TLS_SERVER,
# TLS_DIR and UNIX_SOCKET beside them redis_tls runs too. It empties databases
# 9, 10 and 11. PROGRAM is a file's name without its ending; none means all.
#
# What is missing is installed (npm and pip at pinned versions, Debian packages as
# root); what is not to be had is a failure, never something left out.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
retry=$root/tests/retry.sh
cache=${CARGO_TARGET_DIR:-$root/target}/clients
# Where Debian's packages put libraries for Go.
gopath=/usr/share/gocode
programs=("$@")
[ ${#programs[@]} -gt 0 ] || programs=(
  ioredis readme node_redis redis_py redis_tools express_session django_cache
  redis_types limits_and_locks django_redis_cache redis_rb sidekiq_jobs rails_stores phpredis
  laravel perl_redis redigo
)

# Several times what any program takes; its own checks are bounded too.
PROGRAM_SECONDS=240
START_SECONDS=30
STOP_SECONDS=5

work=$(mktemp -d)
servers=()

die() {
  echo "FAIL clients: $*"
  exit 1
}

stop() {
  local pid end
  for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${servers[@]}"; do
    end=$((SECONDS + STOP_SECONDS))
    while kill -0 "$pid" 2>/dev/null; do
      if [ $SECONDS -ge $end ]; then kill -9 "$pid" 2>/dev/null || true; fi
      sleep 0.05
    done
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

# --- what the programs need ---

# debian COMMAND PACKAGE…: the command is there, or is installed now.
debian() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "$command is missing: install $*"
  echo "installing $*" >&2
  { "$retry" apt-get -qq update && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 "$retry" apt-get -qq -y install "$@"; } >"$work/apt.log" 2>&1 \
    || die "cannot install $*: $(tail -n 3 "$work/apt.log")"
  command -v "$command" >/dev/null || die "$* brought no $command"
}

# fresh STAMP FILE…: whether what STAMP stands for was installed from these very files.
fresh() {
  local stamp=$1
  shift
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | sha256sum)" ]
}

install_node_modules() {
  "$root/tests/node.sh" || die "no Node.js"
  export PATH=$root/target/tools/bin:$PATH
  local stamp=$here/node_modules/.installed files=("$here/package.json" "$here/package-lock.json")
  fresh "$stamp" "${files[@]}" && return
  echo "installing the Node clients" >&2
  (cd "$here" && "$retry" npm ci --no-audit --no-fund) >"$work/npm.log" 2>&1 || die "npm ci: $(tail -n 5 "$work/npm.log")"
  cat "${files[@]}" | sha256sum >"$stamp"
}

install_python() {
  debian python3 python3
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "$(python3 -V) is too old: 3.10 or newer is needed"
  local stamp=$cache/venv/.installed
  fresh "$stamp" "$here/requirements.txt" && "$cache/venv/bin/python" -c 'import django, redis' 2>/dev/null && return
  echo "installing the Python clients" >&2
  rm -rf "$cache/venv"
  mkdir -p "$cache"
  if ! python3 -m venv "$cache/venv" >"$work/venv.log" 2>&1; then
    # Debian keeps venv in a package of its own.
    [ "$(id -u)" = 0 ] || die "python3 has no venv: $(tail -n 3 "$work/venv.log")"
    { "$retry" apt-get -qq update && "$retry" apt-get -qq -y install python3-venv; } >"$work/venv.log" 2>&1 || die "cannot install python3-venv"
    python3 -m venv --clear "$cache/venv" >"$work/venv.log" 2>&1 || die "python3 -m venv: $(tail -n 3 "$work/venv.log")"
  fi
  "$retry" "$cache/venv/bin/pip" --quiet --disable-pip-version-check install -r "$here/requirements.txt" >"$work/pip.log" 2>&1 \
    || die "pip install: $(tail -n 5 "$work/pip.log")"
  sha256sum <"$here/requirements.txt" >"$stamp"
}

# Ruby, PHP, Perl and Go with their clients, which Debian's packages pin. In one call, as each costs seconds.
install_from_debian() {
  local missing=()
  ruby -e '%w[redis sidekiq redis-rack redis-actionpack redis-activesupport].each { |name| gem name }' \
    >/dev/null 2>&1 || missing+=(ruby-redis ruby-sidekiq ruby-redis-rack ruby-redis-actionpack ruby-redis-activesupport)
  php -r 'exit(extension_loaded("redis") ? 0 : 1);' >/dev/null 2>&1 || missing+=(php-cli php-redis)
  php -r 'require "Illuminate/Session/autoload.php"; require "Predis/autoload.php";' >/dev/null 2>&1 \
    || missing+=(php-illuminate-{container,config,redis,cache,session} php-predis)
  perl -MRedis -MRedis::Fast -e 1 >/dev/null 2>&1 || missing+=(perl libredis-perl libredis-fast-perl)
  [ -d "$gopath/src/github.com/boj/redistore" ] || missing+=(golang-github-boj-redistore-dev)
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "install ${missing[*]}"
  echo "installing ${missing[*]}" >&2
  { "$retry" apt-get -qq update && DEBIAN_FRONTEND=noninteractive "$retry" apt-get -qq -y --no-install-recommends install "${missing[@]}"; } \
    >"$work/apt.log" 2>&1 || die "cannot install ${missing[*]}: $(tail -n 3 "$work/apt.log")"
}

debian redis-cli redis-tools
debian redis-benchmark redis-tools
debian nginx nginx
debian caddy caddy
debian redis-server redis-server
debian go golang-go
debian java default-jdk-headless
install_python
install_node_modules
install_from_debian
# Envoy, Traefik and schemathesis.
export PATH=$PATH:$cache/venv/bin

# make_certificates: an authority, and a certificate of it for the server and for clients, in $TLS_DIR.
make_certificates() {
  debian openssl openssl
  TLS_DIR=$work/tls
  mkdir "$TLS_DIR"
  local curve=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -x509) name
  openssl req "${curve[@]}" -subj "/CN=an authority" -keyout "$TLS_DIR/ca.key" -out "$TLS_DIR/ca.pem" 2>"$work/openssl.log" \
    || die "openssl: $(tail -n 3 "$work/openssl.log")"
  for name in server client; do
    openssl req "${curve[@]}" -subj "/CN=$name" -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
      -addext basicConstraints=critical,CA:FALSE -CA "$TLS_DIR/ca.pem" -CAkey "$TLS_DIR/ca.key" \
      -keyout "$TLS_DIR/$name.key" -out "$TLS_DIR/$name.pem" 2>"$work/openssl.log" \
      || die "openssl: $(tail -n 3 "$work/openssl.log")"
  done
}

# --- the servers ---

# start NAME OPTION…: a server of our own; sets `address` to where it speaks RESP and `http_address` to where HTTP.
start() {
  local name=$1 log=$work/$1.log end=$((SECONDS + START_SECONDS))
  shift
  # Where the binary lies is no setting of its own, and CLOAKROOM_* names settings.
  mkdir "$work/dir-$name"
  env -u CLOAKROOM_BIN "$CLOAKROOM_BIN" --port 0 --http-port 0 --dir "$work/dir-$name" "$@" >"$log" 2>&1 &
  servers+=($!)
  # The one place that knows the line a server says when it listens.
  until address=$(sed -nE 's/.*listening on ([^ ]+:[0-9]+) \(resp( over tls)?\).*/\1/p' "$log" | head -n 1) && [ -n "$address" ]; do
    kill -0 "${servers[-1]}" 2>/dev/null || die "the $name server left at its start: $(tail -n 5 "$log")"
    [ $SECONDS -lt $end ] || die "the $name server does not listen: $(tail -n 5 "$log")"
    sleep 0.02
  done
  http_address=$(sed -nE 's/.*listening on ([^ ]+:[0-9]+) \(http\).*/\1/p' "$log" | head -n 1)
}

if [ -n "${SERVER:-}" ]; then
  [ -n "${AUTH_SERVER:-}" ] && [ -n "${AUTH_PASSWORD:-}" ] || die "SERVER needs AUTH_SERVER and AUTH_PASSWORD beside it"
elif [ -n "${CLOAKROOM_BIN:-}" ]; then
  [ -x "$CLOAKROOM_BIN" ] || die "CLOAKROOM_BIN=$CLOAKROOM_BIN is no program"
  AUTH_PASSWORD=open-sesame
  REST_TOKEN=open-sesame REST_READONLY_TOKEN=look-only
  start open --rest-token "$REST_TOKEN" --rest-readonly-token "$REST_READONLY_TOKEN"
  SERVER=$address HTTP_URL=http://$http_address REST_URL=http://$http_address/redis
  start locked --requirepass "$AUTH_PASSWORD"
  AUTH_SERVER=$address
  make_certificates
  UNIX_SOCKET=$work/redis.sock
  start tls --tls-port any --tls-cert-file "$TLS_DIR/server.pem" --tls-key-file "$TLS_DIR/server.key" \
    --tls-ca-cert-file "$TLS_DIR/ca.pem" --unixsocket "$UNIX_SOCKET" --unixsocketperm 700
  TLS_SERVER=$address
else
  die "set CLOAKROOM_BIN, or SERVER, AUTH_SERVER and AUTH_PASSWORD"
fi
export SERVER AUTH_SERVER AUTH_PASSWORD
if [ -n "${TLS_SERVER:-}" ]; then
  export TLS_SERVER TLS_DIR UNIX_SOCKET
  [ -n "${1:-}" ] || programs+=(redis_tls)
fi
if [ -n "${REST_URL:-}" ]; then
  export HTTP_URL REST_URL REST_TOKEN REST_READONLY_TOKEN
  [ -n "${1:-}" ] || programs+=(upstash metrics)
fi
if [ -n "${CLOAKROOM_BIN:-}" ]; then
  CLOAKROOM_BIN=$(realpath "$CLOAKROOM_BIN")
  export CLOAKROOM_BIN
  [ -n "${1:-}" ] || programs+=(proxies openapi docs better_auth authjs_express otlp)
fi

# --- the programs, one after another: they share databases and settings ---

passed=0
failed=0

fail() {
  echo "FAIL $*"
  failed=$((failed + 1))
}

for program in "${programs[@]}"; do
  out=$work/$program.out
  if [ -f "$here/$program.mjs" ]; then
    run=(node "$here/$program.mjs")
  elif [ -f "$here/$program.py" ]; then
    # redis-py calls SETEX and others deprecated, which is what people still write.
    run=("$cache/venv/bin/python" -W ignore::DeprecationWarning "$here/$program.py")
  elif [ -f "$here/$program.rb" ]; then
    run=(ruby -W0 "$here/$program.rb")
  elif [ -f "$here/$program.php" ]; then
    run=(php "$here/$program.php")
  elif [ -f "$here/$program.pl" ]; then
    run=(perl "$here/$program.pl")
  elif [ -f "$here/$program.go" ]; then
    GO111MODULE=off GOPATH=$gopath GOCACHE=$cache/go go build -o "$work/$program" "$here/$program.go" || die "$program: go build"
    run=("$work/$program")
  else
    die "there is no program $program"
  fi
  code=0
  timeout --kill-after=5 "$PROGRAM_SECONDS" "${run[@]}" </dev/null 2>&1 | tee "$out" | { grep -av '^end$' || true; } || code=$?
  good=$(grep -ac '^ok   ' "$out") || true
  bad=$(grep -ac '^FAIL ' "$out") || true
  passed=$((passed + good))
  failed=$((failed + bad))
  if ! grep -aqx end "$out"; then
    fail "$program: left with $code before its end"
  elif [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
    fail "$program: left with $code, though no check failed"
  elif [ "$good" -eq 0 ]; then
    fail "$program: checked nothing"
  fi
  # The others would only find nobody there.
  for pid in "${servers[@]}"; do
    kill -0 "$pid" 2>/dev/null || { fail "$program: a server is gone before its end"; break 2; }
  done
done

for name in open locked tls; do
  [ -f "$work/$name.log" ] || continue
  if grep -q 'panicked at' "$work/$name.log"; then fail "the $name server panicked: $(grep -m 1 'panicked at' "$work/$name.log")"; fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
