#!/usr/bin/env python3
"""Redis' own test suite against cloakroom, as a ratchet.

    run.py                    all units; fails when a test that passed before does not
    run.py unit/type/hash     these units
    run.py --update           writes what passes now into passing.txt (it only grows) and sorts missing.txt
    run.py --against redis    what redis-server itself passes, for comparison

The suite is that of Redis 7.0.15, from Debian's source package, which is downloaded into target/compat and is no part of
this project. $REDIS_TESTS names a directory that has tests/test_helper.tcl, for machines without apt.

Each unit gets a server of its own. A test that hangs is left out and the unit is run again, so that one hang costs one
test. The suite prints a line for each test; nothing else is believed.

passing.txt has a line for each test that passes: the unit, and its name. missing.txt has those that redis-server passes and
cloakroom does not, each with its reason; a test may stand in one of them only.
"""
import argparse
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "compat"
VERSION = "7.0.15"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCE = f"deb-src [signed-by={KEYRING}] http://deb.debian.org/debian bookworm main\n"

# Run against a server that is there already. Those of types and features that cloakroom does not have are left out.
EXTERNAL = """
unit/printver unit/dump unit/protocol unit/keyspace unit/scan unit/info-command unit/type/string unit/type/incr
unit/type/list unit/type/list-2 unit/type/list-3 unit/type/set unit/type/zset unit/type/hash unit/sort unit/expire
unit/other unit/multi unit/quit unit/pubsub unit/slowlog unit/scripting unit/introspection-2
unit/functions unit/bitops unit/lazyfree unit/pause unit/querybuf unit/tracking
unit/violations unit/replybufsize integration/redis-cli
""".split()
# Start servers themselves.
SPAWNED = """
unit/acl unit/acl-v2 unit/auth unit/pubsubshard unit/info unit/introspection unit/bitfield unit/limits
unit/latency-monitor unit/wait unit/maxmemory integration/rdb
integration/convert-ziplist-hash-on-load integration/convert-ziplist-zset-on-load integration/redis-benchmark
""".split()
# Units of which nothing or next to nothing can pass, and why.
LEFT_OUT = {
    "unit/networking": "bind and port do not change while the server runs, and there are no replicas",
    "unit/hyperloglog unit/geo unit/type/stream unit/type/stream-cgroups": "there is no such type or feature",
    "unit/cluster unit/cluster-scripting unit/cluster/misc unit/cluster/links": "there are no clusters",
    "unit/pendingquerybuf integration/dismiss-mem integration/replication integration/psync2 integration/shutdown":
        "there are no replicas",
    "unit/client-eviction": "it knows what each of Redis' own buffers weighs; tests/it judges maxmemory-clients",
    "unit/obuf-limits": "a minute of waiting for three tests, whose limits tests/it judges",
    "unit/shutdown": "it looks for Redis' words in the log and its names of files; tests/it judges what is done",
    "integration/convert-zipmap-hash-on-load": "files of a Redis before 2.6 are refused",
    "unit/aofrw integration/aof integration/aof-multi-part": "there are no append-only files",
    "integration/corrupt-dump integration/corrupt-dump-fuzzer": "a wrong checksum is always refused, before what they test",
    "unit/oom-score-adj integration/logging": "there is no such setting",
    "unit/tls": "the suite skips it unless all of it goes over TLS, which tests/it judges",
    "unit/memefficiency": "its servers run with activedefrag, and there is no defragmenter",
}

# What needs replicas fails by design, and leaves a mess for the tests after it.
TAGS = "-slow -needs:repl"
UNIT_SECONDS = 600
STALL_SECONDS = 60
RERUNS = 8
TRIES = 3
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
TOOK = re.compile(r" \(\d+ ms\)$")


def fetch():
    """The directory of the suite, downloaded if it is not there."""
    given = os.environ.get("REDIS_TESTS")
    root = pathlib.Path(given) if given else WORK / f"redis-{VERSION}"
    if not (root / "tests" / "test_helper.tcl").exists():
        if given:
            sys.exit(f"REDIS_TESTS={given} has no tests/test_helper.tcl")
        with tempfile.TemporaryDirectory() as temporary:
            download(pathlib.Path(temporary), root)
    (root / "src").mkdir(exist_ok=True)
    (root / "tests" / "tmp").mkdir(exist_ok=True)
    for tool in ("redis-cli", "redis-benchmark"):
        link, path = root / "src" / tool, shutil.which(tool)
        if path and not os.path.lexists(link):
            link.symlink_to(path)
    return root


def download(temporary, root):
    """Unpacks the source package, with lists of its own so that the machine's are left alone."""
    lists, cache = temporary / "lists", temporary / "cache"
    (lists / "partial").mkdir(parents=True)
    (cache / "archives" / "partial").mkdir(parents=True)
    (temporary / "sources.list").write_text(SOURCE)
    options = []
    for option in (f"Dir::Etc::SourceList={temporary}/sources.list", "Dir::Etc::SourceParts=/dev/null",
                   f"Dir::State::Lists={lists}", f"Dir::Cache={cache}", "APT::Sandbox::User=root"):
        options += ["-o", option]
    for command in (["update"], ["source", "--download-only", "redis"]):
        subprocess.run([HERE.parent / "retry.sh", "apt-get", "-qq", *options, *command], cwd=temporary, check=True)
    [archive] = temporary.glob(f"redis_{VERSION}*.orig.tar.*")
    root.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "xf", archive, "--strip-components=1", "-C", root], check=True)


def free_port():
    """A port that the system gives to nobody who asks for any, and the socket that sees to it and does not listen."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    return kept.getsockname()[1], kept


class Server:
    """A server of our own for one unit, in a directory of its own."""

    def __init__(self, command, directory):
        self.port, self.kept = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        self.log = open(directory / "server.log", "ab")
        filled = [word.format(port=self.port) for word in command]
        self.process = subprocess.Popen(filled, cwd=directory, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{filled[0]} ended with {self.process.returncode}: see {directory}/server.log")
                time.sleep(0.05)
        self.stop()
        sys.exit(f"{filled[0]} did not open its port")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.kept.close()


class Run:
    """What one run of one unit printed."""

    def __init__(self, text, killed, unit):
        self.passed, self.failed, self.culprit, self.trouble = set(), {}, None, None
        running, ended, seen = None, False, {}

        def nth(name):
            # Some names come again, for the same test in other circumstances.
            seen[name] = seen.get(name, 0) + 1
            return name if seen[name] == 1 else f"{name} #{seen[name]}"

        for line in text.split("\n"):
            kind, _, rest = line.partition(": ")
            if kind == "[ok]":
                running = TOOK.sub("", rest)
                self.passed.add(nth(running))
            elif kind == "[err]" and not ended:
                running = rest.split(" in tests/")[0]
                self.failed[nth(running)] = rest
            elif kind == "[exception]":
                self.trouble = rest
            elif line.startswith("[TIMEOUT]"):
                self.trouble = "hang"
            elif "(IN PROGRESS) " in line:
                self.culprit = line.split("(IN PROGRESS) ", 1)[1]
            elif line.strip() == "The End":
                ended = True
        self.last = running
        if killed:
            self.trouble = f"longer than {UNIT_SECONDS} s"
        elif not self.trouble and f"done]: {unit}" not in text:
            self.trouble = "ended early"


def run_once(root, unit, where, skipped, environment):
    command = ["tclsh", "tests/test_helper.tcl", *where, "--single", unit, "--durable", "--tags", TAGS,
               "--timeout", str(STALL_SECONDS)]
    for name in skipped:
        command += ["--skiptest", name]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
    killed = False
    try:
        out, _ = process.communicate(timeout=UNIT_SECONDS)
    except subprocess.TimeoutExpired:
        killed, out = True, b""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the group that was started here, and what it left
    except ProcessLookupError:
        pass
    if killed:
        out, _ = process.communicate()
    text = COLOURS.sub("", out.decode("latin-1"))
    with open(WORK / "suite.log", "a", encoding="latin-1") as log:
        log.write(f"#### {unit}\n{text}\n")
    return Run(text, killed, unit)


def run_unit(root, unit, server_command, spawn, environment, left_out):
    """Passed tests, failed ones with what was printed, and what went wrong besides."""
    passed, failed, skipped, trouble = set(), {}, list(left_out), None
    for _ in range(RERUNS):
        # Where the suite looks for ports of its own, which are others than those the system hands out.
        base = ["--baseport", str(random.randrange(20000, 30000))]
        if spawn:
            server, where = None, ["--clients", "1", *base, "--portcount", "60"]
        else:
            server = Server(server_command, WORK / "server")
            where = ["--host", "127.0.0.1", "--port", str(server.port), *base]
        try:
            run = run_once(root, unit, where, skipped, environment)
        finally:
            if server:
                server.stop()
        passed |= run.passed
        failed.update(run.failed)
        trouble = run.trouble
        if trouble != "hang":
            break
        culprit = run.culprit or run.last
        if not culprit or culprit in skipped:
            break
        failed[culprit] = "hangs"
        skipped.append(culprit)
    return passed - failed.keys(), failed, trouble


def read_list(path):
    """unit -> {name: rest of the line}"""
    units = {}
    if path.exists():
        for line in path.read_text().splitlines():
            if line and not line.startswith("#"):
                unit, name, *rest = line.split("\t")
                units.setdefault(unit, {})[name] = rest[0] if rest else ""
    return units


def write_list(path, head, units):
    lines = [f"# {line}" for line in head]
    for unit in sorted(units):
        for name in sorted(units[unit]):
            rest = units[unit][name]
            lines.append("\t".join([unit, name] + ([rest] if rest else [])))
    path.write_text("\n".join(lines) + "\n")


def main():
    left_out = "\n".join(f"  {units}:\n    {why}" for units, why in LEFT_OUT.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"Left out unless named:\n{left_out}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("units", nargs="*")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--against", choices=["cloakroom", "redis"], default="cloakroom")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each failed test")
    options = parser.parse_args()

    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "suite.log").unlink(missing_ok=True)
    root = fetch()
    binary = os.environ.get("CLOAKROOM_BIN", str(ROOT / "target" / "release" / "cloakroom"))
    if options.against == "redis":
        server = ["redis-server", "--port", "{port}", "--save", "", "--enable-debug-command", "yes"]
        spawned = shutil.which("redis-server")
    else:
        server = [binary, "--port", "{port}", "--http-port", "0", "--enable-debug-command", "yes", "--maxmemory-policy",
                  "noeviction", "--maxmemory", "0", "--maxmemory-clients", "0"]
        spawned = str(HERE / "spawn.sh")
    link = root / "src" / "redis-server"
    if os.path.lexists(link):
        link.unlink()
    link.symlink_to(spawned)
    environment = dict(os.environ, TERM="dumb", CLOAKROOM_BIN=binary)

    known, missing = read_list(HERE / "passing.txt"), read_list(HERE / "missing.txt")
    total, lost, found = 0, [], {}
    for unit in options.units or EXTERNAL + SPAWNED:
        began = time.monotonic()
        # Those that hang would cost a minute each; others spoil those after them. They are not tried before their line is
        # gone.
        left_out = [name for name, reason in missing.get(unit, {}).items() if reason.startswith(("hangs", "spoils"))]
        passed, failed, trouble = run_unit(root, unit, server, unit in SPAWNED, environment, left_out)
        # Many tests measure time, and a busy machine makes one fail now and then: a unit has three tries.
        for _ in range(TRIES - 1):
            if all(name in passed for name in known.get(unit, {})):
                break
            again, failed, trouble = run_unit(root, unit, server, unit in SPAWNED, environment, left_out)
            passed |= again
        seconds = time.monotonic() - began
        total += len(passed)
        found[unit] = passed
        gone = [name for name in known.get(unit, {}) if name not in passed]
        lost += [(unit, name, failed.get(name, trouble or "not run")) for name in gone]
        new = sum(name not in known.get(unit, {}) for name in passed)
        notes = [f"{len(gone)} lost"] * bool(gone) + [f"{new} new"] * bool(new) + [trouble] * bool(trouble)
        print(f"{unit:28} {len(passed):4} passed {len(failed):3} failed  {seconds:4.0f} s  {', '.join(notes)}",
              flush=True)
        if options.verbose:
            for text in failed.values():
                print("    " + text.split("\n")[0][:220])
    print(f"{total} passed")

    if options.update:
        for unit, passed in found.items():
            known.setdefault(unit, {}).update(dict.fromkeys(passed, ""))
            for name in passed:
                missing.get(unit, {}).pop(name, None)
        write_list(HERE / "passing.txt", ["Tests of Redis 7.0.15 that pass: unit, name. It only grows."], known)
        write_list(HERE / "missing.txt",
                   ["Tests that redis-server 7.0.15 passes and cloakroom does not: unit, name, reason."], missing)
    for unit, name, why in lost:
        print(f"LOST {unit}: {name}: {why}"[:300], file=sys.stderr)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
