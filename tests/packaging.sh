#!/usr/bin/env bash
# What is given away beside the source: completions, the Dockerfile, the systemd unit, the crate, and with a folder that `make dist` has
# filled also the archives and the Debian package in it.
#
#   CLOAKROOM_BIN=target/release/cloakroom tests/packaging.sh [dist]
set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
bin=$(realpath "${CLOAKROOM_BIN:?the binary}")
dist=${1:+$(realpath "$1")}
cd "$root"
tools=$root/target/packaging
work=$(mktemp -d)
server=
passed=0
# Who is traced goes first: strace itself waits for it.
trap '[ -z "$server" ] || kill $(pgrep -P "$server") "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

# What systemd says of a service that is open to everything is 9.6; 2.0 is where it still says OK.
EXPOSURE_MAX=20

ok() { echo "ok   $*"; passed=$((passed + 1)); }
die() { echo "FAIL $*"; echo "$passed passed, 1 failed"; exit 1; }

# debian PROGRAM PACKAGE: the program is there, or is installed now.
debian() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "$1 is missing: install $2"
    { tests/retry.sh apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 tests/retry.sh apt-get -qq -y --no-install-recommends install "$2"; } \
        >"$work/apt.log" 2>&1 || die "cannot install $2: $(tail -n 3 "$work/apt.log")"
}

packaging/tools.sh
export PATH=$tools/venv/bin:$tools/cargo/bin:$PATH

# --- what shells complete ---

"$bin" completions bash >"$work/completions"
# completes WORD...: what bash offers for the last one.
completes() {
    # shellcheck disable=SC2016 # Its own bash reads it.
    bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cloakroom cloakroom "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[*]}"' \
        "$work/completions" cloakroom "$@"
}
while read -r words; do
    # shellcheck disable=SC2086 # Words are meant.
    got=$(completes ${words% = *})
    [ "$got" = "${words#* = }" ] || die "bash completes ${words% = *} to $got"
done <<'END'
che = check
--http-po = --http-port
help imp = import
stats --js = --json
serve --source sto = store
completions fi = fish
END
ok "bash completes subcommands, settings and their values"

# --- the image ---

hadolint Dockerfile || die "hadolint finds fault with the Dockerfile"
ok "hadolint finds no fault with the Dockerfile"

# The context as .dockerignore leaves it: all that cargo looks for is there, and the sources are whole.
mkdir "$work/context"
sed -n 's/^!//p' .dockerignore | while read -r pattern; do
    # shellcheck disable=SC2086 # Patterns are meant to be.
    cp --parents -r $pattern "$work/context/"
done
(cd "$work/context" && cargo metadata --offline --locked --no-deps --format-version 1 >/dev/null) || die "the image's context is no crate"
diff -r src "$work/context/src" >/dev/null || die "the image's context lacks sources"
grep -q 'packaging/static.sh /out' Dockerfile && [ -x "$work/context/packaging/static.sh" ] || die "the image is built otherwise"
ok "the image's context has what its build needs"

# --- the service ---

debian systemd-analyze systemd
sed "s|^ExecStart=/usr/bin/cloakroom|ExecStart=$bin|" packaging/cloakroom.service >"$work/cloakroom.service"
said=$(systemd-analyze verify "$work/cloakroom.service" 2>&1 | grep cloakroom) || true
[ -z "$said" ] || die "systemd-analyze verify: $said"
ok "systemd finds no fault with the unit"
score=$(systemd-analyze security --offline=true "$work/cloakroom.service" | grep -oP 'Overall exposure level.*: \K[0-9.]+')
[ "${score/./}" -le "$EXPOSURE_MAX" ] || die "the service's exposure level is $score"
ok "the service's exposure level is $score"

# What the server calls while all kinds of things happen is what the unit lets it call.
debian strace strace
debian redis-cli redis-tools
debian curl curl
mkdir "$work/state"
cp packaging/cloakroom.toml "$work/settings.toml"
(cd "$work/state" && exec env -u CLOAKROOM_BIN strace -f -qq -e signal=none -o "$work/calls" "$bin" "$work/settings.toml" --port 0 --http-port 0 \
    --unixsocket "$work/redis.sock" --source store >"$work/said" 2>"$work/log") &
server=$!
for _ in $(seq 600); do grep -q '(http)' "$work/said" && break; sleep 0.05; done
# Beside a Unix socket port 0 means none.
cli() { redis-cli -s "$work/redis.sock" "$@"; }
http=$(sed -nE 's/^listening on .*:([0-9]+) \(http\)$/\1/p' "$work/said")
[ -n "$http" ] && [ "$(cli ping)" = PONG ] || die "the server does not start: $(cat "$work/log")"
cli set auth:session:tok '{"user":{"name":"alice"}}' EX 60 >/dev/null
check=$(curl -sS --max-time 30 --cookie next-auth.session-token=tok "http://127.0.0.1:$http/api/auth/session")
[ "$check" = '{"user":{"name":"alice"}}' ] || die "a session check says $check"
[ "$(cli eval 'return redis.call("incr", KEYS[1]) + 1' 1 n)" = 2 ] || die "a script says something else"
cli set large "$(head -c 100000 /dev/zero | tr '\0' x)" >/dev/null
curl -sS --max-time 30 -o /dev/null "http://127.0.0.1:$http/metrics"
curl -sS --max-time 30 -o /dev/null --cookie next-auth.session-token=tok -X POST "http://127.0.0.1:$http/api/auth/signout"
[ "$(cli save)" = OK ] || die "no snapshot"
cli flushall >/dev/null
kill -HUP "$(pgrep -P "$server")"
for _ in $(seq 600); do grep -q 'SIGHUP: ' "$work/log" && break; sleep 0.05; done
grep -q 'SIGHUP: read again' "$work/log" || die "SIGHUP was not heard: $(tail -n 3 "$work/log")"
cli shutdown save >/dev/null 2>&1 || true
wait "$server" || die "the server left with $?: $(tail -n 3 "$work/log")"
server=
[ -s "$work/state/cloakroom.rdb" ] || die "nothing was saved"

# calls_of FILTER...: every call of these, groups within groups included.
systemd-analyze syscall-filter | sed -E 's/\x1b\[[0-9;]*m//g; s/ *(#.*)?$//; /^$/d' >"$work/groups"
calls_of() {
    awk -v wanted="$*" '
        /^[^ ]/ { group = $1; next }
        { members[group] = members[group] " " $1 }
        function tell(name, part, count, i) {
            if (name !~ /^@/) { print name; return }
            count = split(members[name], part, " ")
            for (i = 1; i <= count; i++) tell(part[i])
        }
        END { count = split(wanted, part, " "); for (i = 1; i <= count; i++) tell(part[i]) }' "$work/groups"
}
filter() { grep -oP "^SystemCallFilter=$1\K.*" packaging/cloakroom.service; }
# shellcheck disable=SC2046 # Words are meant.
calls_of $(filter '(?!~)') | sort -u >"$work/allowed"
# shellcheck disable=SC2046
calls_of $(filter '~') | sort -u >"$work/refused"
# systemd always lets these by.
printf '%s\n' execve exit exit_group rt_sigreturn >>"$work/allowed"
sed -nE 's/^[0-9]+ +(<\.\.\. )?([a-z0-9_]+)(\(| resumed>).*/\2/p' "$work/calls" | sort -u >"$work/called"
[ "$(wc -l <"$work/called")" -gt 20 ] || die "hardly a system call was seen"
# Of what is refused, that it answers EPERM: the server goes on without. Its limits are the unit's own then.
outside=$(comm -23 "$work/called" <(comm -23 <(sort -u "$work/allowed") "$work/refused") | tr '\n' ' ')
[ -z "${outside// /}" ] || die "the unit refuses what the server calls: $outside"
ok "the $(wc -l <"$work/called") system calls of a whole life are those that the unit allows"
if grep -q 'PROT_WRITE|PROT_EXEC' "$work/calls"; then die "memory is both written and run"; fi
ok "no memory is both written and run"

# --- the crate ---

cargo package --list --allow-dirty --offline 2>/dev/null >"$work/crate"
for file in Cargo.lock README.md LICENSE-MIT LICENSE-APACHE src/main.rs src/net/http/page/page.html src/command/script/json.lua; do
    grep -qx "$file" "$work/crate" || die "the crate lacks $file"
done
strange=$(grep -vE '^(src|benches)/|^examples/[a-z]+\.rs$|^docs/[a-zA-Z]+\.md$|^(Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json|[A-Z]+\.md|LICENSE-[A-Z]+)$' "$work/crate" || true)
[ -z "$strange" ] || die "the crate also has $strange"
ok "the crate has its sources and documents, and nothing else"

if [ -n "$dist" ]; then
    (cd "$dist" && sha256sum --quiet --check SHA256SUMS) || die "the checksums do not fit"
    [ "$(wc -l <"$dist/SHA256SUMS")" -eq "$(find "$dist" -type f ! -name SHA256SUMS | wc -l)" ] || die "something has no checksum"
    ok "every file has its checksum"

    # --- the archives: each binary runs, by itself and as nobody's ---
    for archive in "$dist"/cloakroom-*.tar.gz; do
        name=$(basename "$archive" .tar.gz)
        tar -xzf "$archive" -C "$work"
        for file in cloakroom README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE cloakroom.service; do
            [ -s "$work/$name/$file" ] || die "$name has no $file"
        done
        run=("$work/$name/cloakroom")
        if [[ $name == *aarch64* ]]; then
            debian qemu-aarch64-static qemu-user-static
            run=(qemu-aarch64-static "${run[@]}")
        else
            ldd "$work/$name/cloakroom" 2>&1 | grep -q 'statically linked' || die "$name is not static"
        fi
        mkdir "$work/dir-$name"
        (cd "$work/dir-$name" && exec env -i "${run[@]}" --port 0 --http-port 0 --source store >"$work/said" 2>"$work/log") &
        server=$!
        for _ in $(seq 600); do grep -q '(http)' "$work/said" && break; sleep 0.05; done
        port=$(sed -nE 's/^listening on .*:([0-9]+) \(resp\)$/\1/p' "$work/said")
        http=$(sed -nE 's/^listening on .*:([0-9]+) \(http\)$/\1/p' "$work/said")
        [ -n "$port" ] && [ -n "$http" ] || die "$name does not start: $(cat "$work/log")"
        cli() { redis-cli -p "$port" "$@"; }
        [ "$(cli ping)" = PONG ] || die "$name: no PONG"
        cli set auth:session:tok '{"user":{"name":"alice"}}' EX 60 >/dev/null
        check=$(curl -sS --max-time 30 --cookie next-auth.session-token=tok "http://127.0.0.1:$http/api/auth/session")
        [ "$check" = '{"user":{"name":"alice"}}' ] || die "$name: a session check says $check"
        [ "$(cli eval 'return cjson.encode({a=redis.call("incr", KEYS[1])})' 1 n)" = '{"a":1}' ] || die "$name: no script runs"
        kill "$server"
        wait "$server" || die "$name left with $?"
        server=
        ok "$name: static, PONG, a session check and a script"
    done

    # --- the Debian package ---
    debian dpkg-deb dpkg
    debian lintian lintian
    for deb in "$dist"/*.deb; do
        scratch=$work/root
        rm -rf "$scratch" && mkdir "$scratch"
        dpkg-deb -x "$deb" "$scratch"
        dpkg-deb -e "$deb" "$scratch/DEBIAN"
        for file in usr/bin/cloakroom etc/cloakroom/cloakroom.toml usr/share/doc/cloakroom/{copyright,changelog.gz,docs/verify.md} \
            usr/share/man/man1/cloakroom.1.gz usr/share/bash-completion/completions/cloakroom; do
            [ -s "$scratch/$file" ] || die "the package has no $file"
        done
        unit=$(find "$scratch" -name cloakroom.service)
        [ -n "$unit" ] && cmp -s "$unit" packaging/cloakroom.service || die "the package has another unit"
        grep -qx /etc/cloakroom/cloakroom.toml "$scratch/DEBIAN/conffiles" || die "the settings are no conffile"
        grep -q '^Depends: .*libc6' "$scratch/DEBIAN/control" || die "the package names no libc6"
        grep -q 'rm -rf .*/var/lib/private/cloakroom' "$scratch/DEBIAN/postrm" || die "a purge leaves sessions behind"
        "$scratch/usr/bin/cloakroom" --version | grep -qx "cloakroom $(grep -oP '^Version: \K[0-9.]+' "$scratch/DEBIAN/control")" \
            || die "the package's version is not the binary's"
        # Debian itself has no such package, so it has no bug that asks for one.
        said=$(lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$deb" 2>&1) || die "lintian: $said"
        ok "$(basename "$deb") has binary, unit, settings and documents, and lintian finds no fault with it"
    done
fi

echo "$passed passed, 0 failed"
