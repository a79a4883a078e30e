#!/usr/bin/env python3
"""The same random commands to redis-server and to cloakroom, reply for reply.

    differ.py --seconds 60            goes on from a random seed, which is printed
    differ.py --cpu-seconds 3600      the same, until it and the two servers have worked that long
    differ.py --seed 7 --rounds 100   the same commands again
    differ.py --corpus                the cases kept in tests/compat/cases
    differ.py --broken --seconds 60   malformed requests to cloakroom alone, see broken.py

A round is a few dozen commands on a few keys of an empty database, in RESP2 or RESP3, all types and odd arguments mixed.
Replies are compared byte by byte after three steps: members that have no order are sorted, what is random is not asked for,
and a few differences that are meant (`MEANT` below says which and why) are passed over. At the first difference the
round is cut down to the commands that are needed for it, and those are printed: a line each, as JSON, which is also how
cases are kept.
"""
import argparse
import itertools
import json
import os
import pathlib
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

import broken
import grammar

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CASES = HERE / "cases"
REPLY_SECONDS = 10
AGAIN = 4
# Sockets that keep the servers' ports.
KEPT = []

# (pattern of the command, pattern of Redis' reply, pattern of ours, why)
MEANT = [
    (r"^(BITCOUNT|BITPOS) ", "b':', b'(0|-1)'|WRONGTYPE", "b'-', b'ERR ", "since 7.2 arguments are read before the key is looked for"),
    (r"^B", "timeout is negative", "timeout is out of range", "since 7.2 an infinite timeout is told as what it is"),
    (r"^OBJECT ENCODING", "embstr|raw", "int|embstr", "a string's encoding follows from its bytes, not from how they came about"),
    (r"\0", "(unknown (sub)?c|C)ommand '|Unsupported option|Unknown argument", "(unknown (sub)?c|C)ommand '|Unsupported option|Unknown argument", "a NUL ends no text"),
    (r"\0", "b'[:*]'", "is not a float", "a NUL ends no number"),
    (r"^SORT", "converted into double", r"b'[*:]'", "Redis takes an ERANGE that an earlier command has left for its own"),
    (r"^ZINCRBY ", "syntax error", "not a valid float", "Redis reads an increment that is called like an option of ZADD as one"),
    (r"^ACL SETUSER .*\(.* \(", "", "", "Redis forgets a selector that is open when another is opened, which is a syntax error here"),
    (r"^ACL SETUSER ", "modifier '[<>#!]", "redacted", "what may be a password is not repeated"),
    (r"^ZSCAN ", r"b'-?\d{16,}'", r"e\+1\d'", "a score looks the same in all replies; Redis shows here how a small set keeps it"),
    (r"^(DUMP |FUNCTION DUMP)", r"^\(b'\$', b.[^-]", r"^\(b'\$', b.[^-]", "Redis compresses long strings; @CROSS compares what is dumped"),
    (r"^FUNCTION RESTORE", "already exists", "already exists", "of several collisions Redis tells the one that its hash table has first"),
    (r"^ACL DRYRUN ", r"b'OK'", "no permissions to access the '", "keys are looked at where Redis, as their number cannot be, looks at none"),
    (r"^COMMAND GETKEYSANDFLAGS ", r"\(b'[~*]', \[\]\)", r"b'R[OW]'|b'OW'", "Redis knows no flags where the number of keys is none, and finds keys all the same"),
    (r"^[SHZ]?SCAN ", "", r"^\(b'\*', \[\(b'\$', b'[1-9]", "where a part of a scan ends, and what is in it, is a table's own"),
    (r"^[SHZ]?SCAN ", r"^\(b'\*', \[\(b'\$', b'[1-9]", "", "the same"),
    (r"^OBJECT ENCODING", "skiplist", "listpack", "SORT changes the encoding of the sorted set which it reads"),
]

# What such a command leaves behind differs as well, so that the round ends with it.
SPOILING = re.compile(r"^(SORT .* STORE |ACL SETUSER .*\(.* \()", re.I | re.S)

UNORDERED = re.compile(r"^(SMEMBERS|SINTER|SUNION|SDIFF|HKEYS|HVALS|KEYS|SPOP|SRANDMEMBER)$")
PAIRS = re.compile(r"^(HGETALL|HRANDFIELD|ZRANDMEMBER)$")

# ---- replies ---------------------------------------------------------------------------------------------------------


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), REPLY_SECONDS)
        self.file = self.socket.makefile("rb")

    def send(self, *commands):
        self.socket.sendall(b"".join(map(self.request, commands)))

    @staticmethod
    def request(words):
        parts = [word.encode("latin-1") if isinstance(word, str) else word for word in words]
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=!" and rest != b"-1":
            return (kind, self.file.read(int(rest) + 2)[:-2])
        if kind in b"*~>%" and rest != b"-1":
            count = int(rest) * (2 if kind == b"%" else 1)
            return (kind, [self.read() for _ in range(count)])
        return (kind, rest)

    def ask(self, words):
        self.send(words)
        return self.read()


def is_unordered(words):
    """Whether the order of what the command answers is not defined."""
    name = words[0].upper()
    if name in ("SORT", "SORT_RO"):
        options = [word.upper() for word in words[2:]]
        return "BY" in options
    return bool(UNORDERED.match(name))


def sorted_all_through(reply):
    """The same with all lists in order: of a reply of lists in lists that have no order."""
    kind, value = reply
    return (kind, sorted(map(sorted_all_through, value), key=repr)) if isinstance(value, list) else reply


def normal(words, reply):
    """A reply in the form in which two servers must agree."""
    kind, value = reply
    name = words[0].upper() if words else ""
    if name in ("EXPIRETIME", "PEXPIRETIME") and kind == b":" and int(value) > 1 << 30:
        return (kind, "a time to come")
    if [word.upper() for word in words[:2]] == ["OBJECT", "IDLETIME"] and kind == b":":
        return (kind, "a while")
    if not isinstance(value, list):
        # What is no text is shown as text in our errors.
        return (kind, re.sub(rb"[\x80-\xff]+", b"?", value)) if kind == b"-" else reply
    if name == "HELLO":
        return (kind, "who the server is")
    if [word.upper() for word in words[:2]] == ["FUNCTION", "LIST"]:
        return sorted_all_through(reply)
    if name in ("FCALL", "FCALL_RO") and words[1] in grammar.CALLING:
        return normal(words[4:], reply)
    if (name in ("EVALSHA", "EVALSHA_RO") or name in ("FCALL", "FCALL_RO") and words[1] == "kept") and len(value) == 2:
        return (kind, [value[0], normal(words[4:], value[1])])
    if name in ("EVAL", "EVAL_RO") and words[1:] and "unpack(ARGV)" in words[1]:
        return normal(words[4:], reply)
    if name in ("EVAL", "EVAL_RO") and re.search("'(smembers|hgetall)'", words[1]):
        return normal([re.search("'(smembers|hgetall)'", words[1])[1]], reply)
    if name in ("SCAN", "SSCAN", "HSCAN", "ZSCAN") and len(value) == 2:
        return (kind, [value[0], normal(["SMEMBERS" if name in ("SCAN", "SSCAN") else "HGETALL"], value[1])])
    if [word.upper() for word in words[:2]] == ["ACL", "GETUSER"]:
        # Redis 7.0 tells other rules with the same effect; ACL DRYRUN compares that.
        return (kind, [normal([], each) for at, each in enumerate(value) if at == 0 or value[at - 1][1] != b"commands"])
    # A member with its value stays together.
    paired = kind == b"%" or (PAIRS.match(name) and kind == b"*" and not any(isinstance(each[1], list) for each in value)
                              and (name == "HGETALL" or len(words) == 4))
    if paired:
        return (kind, sorted(((normal([], value[at]), normal([], value[at + 1])) for at in range(0, len(value) - 1, 2)), key=repr))
    inner = [normal([], each) for each in value]
    return (kind, sorted(inner, key=repr) if kind == b"~" or PAIRS.match(name) or (words and is_unordered(words)) else inner)


class Spoilt(Exception):
    """After a difference that is meant, what the two servers hold is no longer the same."""


def is_meant(words, theirs, ours):
    line = " ".join(words)
    meant = any(re.search(command, line, re.I | re.S) and re.search(redis, repr(theirs)) and re.search(own, repr(ours))
                for command, redis, own, _ in MEANT)
    if meant and SPOILING.search(line):
        raise Spoilt
    return meant


def unsigned_zero(reply):
    """The same where a score of -0 is 0, as in what Redis keeps small; a sorted set that SORT has read is never small there."""
    kind, value = reply
    return (kind, [unsigned_zero(each) for each in value]) if isinstance(value, list) else (kind, b"0" if value == b"-0" else value)


def alike(words, theirs, ours, queued):
    """Whether two replies agree; those of EXEC are compared one by one, as the replies of what was queued."""
    if words[0].upper() == "EXEC" and theirs[0] == ours[0] == b"*" and isinstance(theirs[1], list) and isinstance(ours[1], list):
        return len(theirs[1]) == len(ours[1]) == len(queued) and all(map(lambda *each: alike(*each, []), queued, theirs[1], ours[1]))
    if words[0].upper() == "TTL" and theirs[0] == ours[0] == b":" and int(theirs[1]) > 0 < int(ours[1]):
        # Rounded, and the second server was asked later.
        return abs(int(theirs[1]) - int(ours[1])) <= 2
    one, two = normal(words, theirs), normal(words, ours)
    inner = words[4:] if words[0].upper().startswith(("EVAL", "FCALL")) and words[4:] else words
    return one == two or is_meant(words, one, two) or is_meant(inner, one, two)


# ---- rounds ----------------------------------------------------------------------------------------------------------


class Difference(Exception):
    def __init__(self, at, words, theirs, ours):
        self.at, self.words, self.theirs, self.ours = at, words, theirs, ours


class Session:
    """A connection to each of the two servers, which are sent the same."""

    def __init__(self, pair):
        self.both, self.queued, self.sorts = [Connection(port) for port in pair], [], False

    def check(self, at, words, theirs, ours):
        self.sorts = self.sorts or any(word.upper() in ("SORT", "SORT_RO") for word in words)
        if not alike(words, theirs, ours, self.queued) and not (
                self.sorts and alike(words, unsigned_zero(theirs), unsigned_zero(ours), self.queued)):
            raise Difference(at, words, normal(words, theirs), normal(words, ours))
        if theirs == (b"+", b"QUEUED"):
            self.queued.append(words)
        elif words[0].upper() in ("MULTI", "EXEC", "DISCARD") and theirs[0] != b"-":
            self.queued = []
        elif theirs[1].startswith(b"EXECABORT") if theirs[0] == b"-" else False:
            self.queued = []

    def play(self, batch):
        """Sends all of a batch of (index, command) before the first reply is read."""
        for connection in self.both:
            connection.send(*(words for _, words in batch))
        for at, words in batch:
            self.check(at, words, *(connection.read() for connection in self.both))

    def cross(self, at, source, target):
        """What one server dumps, the other restores."""
        dumped = [connection.ask(["DUMP", source]) for connection in self.both]
        if any(kind != b"$" or payload == b"-1" for kind, payload in dumped):
            self.check(at, ["DUMP", source], *dumped)
            return
        restored = [connection.ask(["RESTORE", target, "0", payload, "REPLACE"])
                    for connection, (_, payload) in zip(self.both, reversed(dumped))]
        self.check(at, ["RESTORE", target], *restored)

    def cross_functions(self, at, *how):
        """The libraries that one server dumps, the other restores."""
        dumped = [connection.ask(["FUNCTION", "DUMP"]) for connection in self.both]
        if any(kind != b"$" for kind, _ in dumped):
            self.check(at, ["FUNCTION", "DUMP"], *dumped)
            return
        restored = [connection.ask(["FUNCTION", "RESTORE", payload, *how])
                    for connection, (_, payload) in zip(self.both, reversed(dumped))]
        self.check(at, ["FUNCTION", "RESTORE", *how], *restored)

    def close(self):
        for connection in self.both:
            connection.socket.close()


def play(pair, case):
    """Plays a case to both servers; raises at the first difference."""
    first, second = Session(pair), Session(pair)
    try:
        for connection in first.both:
            setup = [["HELLO", case["resp"]], ["FLUSHALL"], ["ACL", "DELUSER", "u"], ["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"]]
            setup += [["CONFIG", "SET", name, case["compact"]]
                      for name in ("hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries")]
            connection.send(*setup)
            for _ in setup:
                connection.read()
        how = lambda numbered: numbered[1][0] if numbered[1] and numbered[1][0].startswith("@") else ""
        for kind, batch in itertools.groupby(enumerate(case["commands"]), how):
            batch = [(at, words[1:] if kind else words) for at, words in batch]
            if kind == "@CROSS":
                for at, words in batch:
                    first.cross(at, *words)
            elif kind == "@FUNCTIONS":
                for at, words in batch:
                    first.cross_functions(at, *words)
            else:
                (second if kind else first).play(batch)
    except Spoilt:
        pass
    finally:
        first.close()
        second.close()


def differs(pair, case):
    try:
        play(pair, case)
    except (Difference, ConnectionError, socket.timeout) as difference:
        return difference
    return None


def cut(pair, case):
    """The same case without what the difference does not need."""
    difference = differs(pair, case)
    commands = case["commands"]
    if isinstance(difference, Difference):
        commands = commands[:difference.at + 1]
    before = None
    while before != commands:
        before = commands
        for at in range(len(commands) - 1, -1, -1):
            shorter = commands[:at] + commands[at + 1:]
            if differs(pair, dict(case, commands=shorter)):
                commands = shorter
    return dict(case, commands=commands)


WAITS = re.compile(r"^(BL|BR|BZ)|\b(BL|BR|BZ)(MOVE|MPOP|POP|POPLPUSH|POPMIN|POPMAX)\b", re.I)
DIES = re.compile(r"\b(PX|EX|PXAT|EXAT|P?SETEX|P?EXPIRE(AT)?)\b", re.I)


# A deadline of some milliseconds, which one server reaches before the other.
NEAR = re.compile(r"\b(PX|PEXPIRE \S+|PSETEX \S+) \d\b", re.I)
# Which of two deadlines is later, of which each is counted from its own now.
LATER = re.compile(r"^P?EXPIRE .*\b[GL]T\b", re.I)


def is_race(case):
    """Whether what is left of a case depends on how much time passes between its commands. A wait of a millisecond is as long here,
    and in Redis as long as until its timer's next tick, a tenth of a second later. Until then DBSIZE counts there what has died."""
    lines = [" ".join(words) for words in case["commands"]]
    waits = len(lines) <= 4 and any(map(WAITS.search, lines))
    ends = lines[-1].upper() == "DBSIZE" or LATER.search(lines[-1])
    return any(map(DIES.search, lines)) and bool(waits or ends) or any(map(NEAR.search, lines))


def start(command, directory):
    # The system gives its port to nobody else as long as a socket has it that does not listen.
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    KEPT.append(kept)
    port = kept.getsockname()[1]
    log = open(os.path.join(directory, "server.log"), "ab")
    process = subprocess.Popen([word.format(port=port) for word in command], cwd=directory, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log)
    for _ in range(1500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, port
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    process.kill()
    sys.exit(f"{command[0]} does not listen")


def cpu_of(pid):
    """The seconds of CPU that a process has used until now, in all its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--cpu-seconds", type=float, default=0)
    parser.add_argument("--corpus", action="store_true")
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--most", type=int, default=1, help="differences after which it stops")
    options = parser.parse_args()
    # As at an exception, so that the servers end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary = os.environ.get("CLOAKROOM_BIN", str(ROOT / "target" / "release" / "cloakroom"))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        redis, redis_port = start(["redis-server", "--port", "{port}", "--save", ""], one)
        try:
            own, own_port = start([binary, "--port", "{port}", "--http-port", "0"], two)
        except BaseException:
            redis.terminate()
            raise
        pair, found, played = (redis_port, own_port), 0, 0
        try:
            if options.broken:
                print(f"seed {seed}", flush=True)
                try:
                    passed = broken.run(own_port, own, seed, options.rounds, options.seconds or 60)
                except broken.Fault as fault:
                    print(f"FAULT: {fault}")
                    sys.exit(1)
                print(f"{passed} passed, 0 failed")
                return
            cases = [json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))]
            if options.corpus:
                rounds = iter(cases)
            else:
                rounds = (grammar.make(number) for number in range(seed, seed + (options.rounds or 1 << 40)))
                print(f"seed {seed}", flush=True)
            end = time.monotonic() + (options.seconds or 1e9)
            for case in rounds:
                if time.monotonic() > end or options.cpu_seconds and sum(map(cpu_of, (redis.pid, own.pid, os.getpid()))) > options.cpu_seconds:
                    break
                played += 1
                difference = differs(pair, case)
                # Again and again, as a millisecond or a deadline may pass between the two servers.
                if not difference or not all(differs(pair, case) for _ in range(AGAIN)):
                    continue
                short = cut(pair, case)
                if is_race(short):
                    continue
                found += 1
                difference = differs(pair, short) or difference
                print(f"DIFFERENCE with seed {case.get('seed')}, RESP{short['resp']}, compact {short['compact']}")
                print(json.dumps(dict(short, seed=case.get("seed"))))
                for name in ("theirs", "ours"):
                    print(f"  {name}: {str(getattr(difference, name, difference))[:400]}", flush=True)
                if own.poll() is not None:
                    print("  cloakroom has ended:", open(os.path.join(two, "server.log")).read()[-600:])
                    break
                if found >= options.most:
                    break
        finally:
            for process in (redis, own):
                process.terminate()
                process.wait()
        used = [usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))]
        print(f"{played} rounds, {used[0]:.0f} s of CPU here and {used[1]:.0f} s in the two servers")
        print(f"{played - found} passed, {found} failed")
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
