#!/usr/bin/env python3
"""The same random commands to redis-server and to cloakroom, reply for reply.

    differ.py --seconds 60            goes on from a random seed, which is printed
    differ.py --seed 7 --rounds 100   the same commands again
    differ.py --corpus                the cases kept in tests/compat/cases

A round is a few dozen commands on a few keys of an empty database, in RESP2 or RESP3, all types and odd arguments mixed.
Replies are compared byte by byte after three steps: members that have no order are sorted, what is random is not asked for,
and a few differences that are meant (`MEANT` below says which and why) are passed over. At the first difference the
round is cut down to the commands that are needed for it, and those are printed: a line each, as JSON, which is also how
cases are kept.
"""
import argparse
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CASES = HERE / "cases"
COMMANDS_MIN, COMMANDS_MAX = 5, 60
REPLY_SECONDS = 10

# (pattern of the command, pattern of Redis' reply, pattern of ours, why)
MEANT = []

KEYS = [f"k{number}" for number in range(6)]
# ---- words -----------------------------------------------------------------------------------------------------------

INTEGERS = ["0", "1", "-1", "2", "3", "5", "10", "100", "-5", "127", "128", "255", "32768", "70000", "2147483648",
            "4294967296", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "01", "+1", " 1", "1 ",
            "", "abc", "1.0", "1e3"]
FLOATS = ["0", "1", "-1", "1.5", "-2.25", "0.1", "3.0", "1e5", "1e-7", "1e300", "-1e300", "inf", "-inf", "+inf", "nan", "",
          "abc", "0x10", "1e400", "5e-324", "-0", ".5", "5."]
WORDS = ["a", "b", "c", "d", "e", "foo", "bar", "hello world", "", "1", "2", "10", "-3", "12345678901234567890", "1.5",
         "\x00\xff\x01", "x" * 30, "y" * 70, "é", "A", "B"]
SMALL = ["0", "1", "2", "3", "-1", "-2", "5", "-10", "10"]


class Dice(random.Random):
    def key(self):
        return self.choice(KEYS) if self.random() < 0.98 else "nokey"

    def word(self):
        return self.choice(WORDS)

    def int(self):
        return self.choice(SMALL) if self.random() < 0.8 else self.choice(INTEGERS)

    def float(self):
        return self.choice(FLOATS)

    def some(self, make, least=1, most=4):
        return [make() for _ in range(self.randint(least, most))]

    def maybe(self, *words, chance=0.3):
        return list(words) if self.random() < chance else []

    def pairs(self, one, two, least=1, most=4):
        return [word for _ in range(self.randint(least, most)) for word in (one(), two())]

    def bound(self):
        return self.choice(["", "("]) + self.choice(["-inf", "+inf", "inf", "0", "1", "2", "1.5", "-1", "abc", ""])

    def lex(self):
        return self.choice(["-", "+", "[a", "(a", "[c", "(c", "[", "(", "a", "", "[\xff"])

    def glob(self):
        return self.choice(["*", "k*", "?", "[a-c]", "[^a]", "h*o", "\\*", "*1*", "", "k[0-3]", "[", "**"])


def grammar(d):
    """A command for each call; names may repeat, so that what is interesting comes up more."""
    k, w, i, f = d.key, d.word, d.int, d.float
    numkeys = lambda: (lambda keys: [d.choice([str(len(keys))] * 9 + ["0"]), *keys])(d.some(k, 1, 3))
    aggregate = lambda: d.maybe("WEIGHTS", f(), f()) + d.maybe("AGGREGATE", d.choice(["SUM", "MIN", "MAX", "AVG"]))
    limit = lambda: d.maybe("LIMIT", i(), i())
    side = lambda: d.choice(["LEFT", "RIGHT", "left", "up"])
    expiry = lambda: d.choice([["EX", "100"], ["PX", "100000"], ["EX", i()], ["KEEPTTL"], ["PERSIST"]])
    return [
        # Strings and keys.
        lambda: ["SET", k(), w()], lambda: ["SET", k(), i(), *d.maybe(d.choice(["NX", "XX", "GET"])), *d.maybe(*expiry())],
        lambda: ["GET", k()], lambda: ["GETSET", k(), w()], lambda: ["GETDEL", k()], lambda: ["GETEX", k(), *d.maybe(*expiry())],
        lambda: ["APPEND", k(), w()], lambda: ["STRLEN", k()], lambda: ["SETRANGE", k(), d.choice(["0", "3", "-1", "x", "12"]), w()],
        lambda: ["GETRANGE", k(), i(), i()], lambda: ["INCR", k()], lambda: ["DECRBY", k(), i()], lambda: ["INCRBY", k(), i()],
        lambda: ["INCRBYFLOAT", k(), f()], lambda: ["MGET", *d.some(k)], lambda: ["MSET", *d.pairs(k, w)],
        lambda: ["MSETNX", *d.pairs(k, w, 1, 2)], lambda: ["SETNX", k(), w()], lambda: ["LCS", k(), k(), *d.maybe("LEN"), *d.maybe("IDX")],
        lambda: ["DEL", *d.some(k)], lambda: ["UNLINK", k()], lambda: ["EXISTS", *d.some(k)], lambda: ["TYPE", k()],
        lambda: ["RENAME", k(), k()], lambda: ["RENAMENX", k(), k()], lambda: ["COPY", k(), k(), *d.maybe("REPLACE")],
        lambda: ["EXPIRE", k(), d.choice(["100", "-1", "0", "x"]), *d.maybe(d.choice(["NX", "XX", "GT", "LT"]))],
        lambda: ["PERSIST", k()], lambda: ["TTL", k()], lambda: ["OBJECT", "ENCODING", k()], lambda: ["DBSIZE"],
        lambda: ["KEYS", d.glob()], lambda: ["SORT", k(), *limit(), *d.maybe(d.choice(["ASC", "DESC"])), *d.maybe("ALPHA"),
                                             *d.maybe("BY", d.choice(["k*", "nosort", "h*->f"])), *d.maybe("GET", d.choice(["#", "k*"])),
                                             *d.maybe("STORE", k())],
        # Bits.
        lambda: ["SETBIT", k(), d.choice(["0", "1", "7", "8", "100", "-1", "4294967296"]), d.choice(["0", "1", "2"])],
        lambda: ["GETBIT", k(), d.choice(["0", "7", "9", "1000", "-1"])], lambda: ["BITCOUNT", k(), *d.maybe(i(), i(), *d.maybe("BIT"))],
        lambda: ["BITPOS", k(), d.choice(["0", "1", "2"]), *d.maybe(i()), *d.maybe(i())],
        lambda: ["BITOP", d.choice(["AND", "OR", "XOR", "NOT", "NAND"]), k(), *d.some(k, 1, 3)],
        lambda: ["BITFIELD", k(), *sum(d.some(lambda: d.choice([
            ["GET", d.choice(["u8", "i5", "u63", "i64", "u64"]), d.choice(["0", "#1", "7", "-1"])],
            ["SET", d.choice(["u8", "i8", "i16"]), d.choice(["0", "#2", "3"]), i()],
            ["INCRBY", d.choice(["u2", "i8", "u16"]), d.choice(["0", "#1"]), i()],
            ["OVERFLOW", d.choice(["WRAP", "SAT", "FAIL", "X"])]])), [])],
        # Hashes.
        lambda: ["HSET", k(), *d.pairs(w, w)], lambda: ["HMSET", k(), *d.pairs(w, i)], lambda: ["HSETNX", k(), w(), w()],
        lambda: ["HGET", k(), w()], lambda: ["HMGET", k(), *d.some(w)], lambda: ["HGETALL", k()], lambda: ["HDEL", k(), *d.some(w)],
        lambda: ["HLEN", k()], lambda: ["HSTRLEN", k(), w()], lambda: ["HEXISTS", k(), w()], lambda: ["HKEYS", k()], lambda: ["HVALS", k()],
        lambda: ["HINCRBY", k(), w(), i()], lambda: ["HINCRBYFLOAT", k(), w(), f()], lambda: ["HRANDFIELD", k(), "0"],
        # Lists.
        lambda: [d.choice(["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), k(), *d.some(w)], lambda: [d.choice(["LPOP", "RPOP"]), k(), *d.maybe(i())],
        lambda: ["LRANGE", k(), i(), i()], lambda: ["LLEN", k()], lambda: ["LINDEX", k(), i()], lambda: ["LSET", k(), i(), w()],
        lambda: ["LINSERT", k(), d.choice(["BEFORE", "AFTER", "NEAR"]), w(), w()], lambda: ["LREM", k(), i(), w()], lambda: ["LTRIM", k(), i(), i()],
        lambda: ["LPOS", k(), w(), *d.maybe("RANK", i()), *d.maybe("COUNT", i()), *d.maybe("MAXLEN", i())],
        lambda: ["LMOVE", k(), k(), side(), side()], lambda: ["RPOPLPUSH", k(), k()], lambda: ["LMPOP", *numkeys(), side(), *d.maybe("COUNT", i())],
        lambda: ["BLPOP", *d.some(k), "0.001"], lambda: ["BRPOPLPUSH", k(), k(), "0.001"], lambda: ["BLMPOP", "0.001", *numkeys(), side()],
        # Sets.
        lambda: ["SADD", k(), *d.some(w)], lambda: ["SADD", k(), *d.some(i)], lambda: ["SREM", k(), *d.some(w)], lambda: ["SCARD", k()],
        lambda: ["SISMEMBER", k(), w()], lambda: ["SMISMEMBER", k(), *d.some(w)], lambda: ["SMEMBERS", k()], lambda: ["SMOVE", k(), k(), w()],
        lambda: [d.choice(["SINTER", "SUNION", "SDIFF"]), *d.some(k)], lambda: [d.choice(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), k(), *d.some(k)],
        lambda: ["SINTERCARD", *numkeys(), *d.maybe("LIMIT", i())], lambda: ["SPOP", k(), "0"], lambda: ["SRANDMEMBER", k(), "0"],
        # Sorted sets.
        lambda: ["ZADD", k(), *d.maybe(d.choice(["NX", "XX"])), *d.maybe(d.choice(["GT", "LT"])), *d.maybe("CH"), *d.pairs(f, w)],
        lambda: ["ZADD", k(), *d.pairs(i, w)], lambda: ["ZADD", k(), "INCR", f(), w()], lambda: ["ZINCRBY", k(), f(), w()], lambda: ["ZREM", k(), *d.some(w)],
        lambda: ["ZSCORE", k(), w()], lambda: ["ZMSCORE", k(), *d.some(w)], lambda: ["ZCARD", k()], lambda: ["ZCOUNT", k(), d.bound(), d.bound()],
        lambda: ["ZLEXCOUNT", k(), d.lex(), d.lex()], lambda: [d.choice(["ZRANK", "ZREVRANK"]), k(), w()],
        lambda: ["ZRANGE", k(), i(), i(), *d.maybe("REV"), *d.maybe("WITHSCORES")],
        lambda: ["ZRANGE", k(), d.bound(), d.bound(), "BYSCORE", *d.maybe("REV"), *limit(), *d.maybe("WITHSCORES")],
        lambda: ["ZRANGE", k(), d.lex(), d.lex(), "BYLEX", *d.maybe("REV"), *limit()], lambda: ["ZREVRANGE", k(), i(), i(), *d.maybe("WITHSCORES")],
        lambda: [d.choice(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]), k(), d.bound(), d.bound(), *d.maybe("WITHSCORES"), *limit()],
        lambda: [d.choice(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), k(), d.lex(), d.lex(), *limit()],
        lambda: ["ZRANGESTORE", k(), k(), i(), i(), *d.maybe("REV")], lambda: ["ZREMRANGEBYRANK", k(), i(), i()],
        lambda: ["ZREMRANGEBYSCORE", k(), d.bound(), d.bound()], lambda: ["ZREMRANGEBYLEX", k(), d.lex(), d.lex()],
        lambda: [d.choice(["ZPOPMIN", "ZPOPMAX"]), k(), *d.maybe(i())], lambda: ["ZMPOP", *numkeys(), d.choice(["MIN", "MAX", "MID"]), *d.maybe("COUNT", i())],
        lambda: [d.choice(["ZUNION", "ZINTER"]), *numkeys(), *aggregate(), *d.maybe("WITHSCORES")], lambda: ["ZDIFF", *numkeys(), *d.maybe("WITHSCORES")],
        lambda: [d.choice(["ZUNIONSTORE", "ZINTERSTORE"]), k(), *numkeys(), *aggregate()], lambda: ["ZDIFFSTORE", k(), *numkeys()],
        lambda: ["ZINTERCARD", *numkeys(), *d.maybe("LIMIT", i())], lambda: ["BZPOPMIN", *d.some(k), "0.001"], lambda: ["ZRANDMEMBER", k(), "0"],
        # Several at once.
        lambda: ["MULTI"], lambda: ["EXEC"], lambda: ["EXEC"], lambda: ["DISCARD"], lambda: ["WATCH", *d.some(k)], lambda: ["UNWATCH"],
        lambda: ["EVAL", d.choice([
            "return redis.call(unpack(ARGV))", "return redis.pcall(unpack(ARGV))", "return {KEYS[1], #ARGV, 3.7, false, {1, nil, 2}}",
            "return redis.error_reply('MY failure')", "return redis.status_reply('fine')", "redis.setresp(3) return redis.call(unpack(ARGV))",
            "return tonumber(ARGV[1])", "return cjson.encode({ARGV[1], 1, true})", "return cjson.decode(ARGV[1])", "return #KEYS .. ARGV[1]"]),
            "1", k(), *d.choice([["GET", k()], ["INCR", k()], ["HGETALL", k()], ["LPUSH", k(), w()], ["ZRANGE", k(), "0", "-1", "WITHSCORES"], [w()]])],
        # What nobody expects.
        lambda: [d.choice(["HSET", "ZADD", "LPUSH", "SADD", "GET", "LINSERT", "BITFIELD", "ZRANGE", "SORT"]), *d.some(w, 0, 5)],
    ]


UNORDERED = re.compile(r"^(SMEMBERS|SINTER|SUNION|SDIFF|HGETALL|HKEYS|HVALS|KEYS|SORT)$", re.I)

# ---- replies ---------------------------------------------------------------------------------------------------------


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), REPLY_SECONDS)
        self.file = self.socket.makefile("rb")

    def send(self, words):
        parts = [word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

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


def normal(words, reply):
    """A reply in the form in which two servers must agree."""
    kind, value = reply
    if isinstance(value, list):
        name = words[0].upper() if words else ""
        if kind == b"%" or (name == "HGETALL" and kind == b"*"):
            pairs = [(normal([], value[at]), normal([], value[at + 1])) for at in range(0, len(value) - 1, 2)]
            return (kind, sorted(pairs, key=repr))
        # Of what EXEC and scripts answer it is not known which command it comes from.
        within = ["KEYS"] if name in ("EXEC", "EVAL") else []
        inner = [normal(within, each) for each in value]
        return (kind, sorted(inner, key=repr) if kind == b"~" or UNORDERED.match(name) else inner)
    return reply


def is_meant(words, theirs, ours):
    line = " ".join(words)
    return any(re.search(command, line) and re.search(redis, repr(theirs)) and re.search(own, repr(ours))
               for command, redis, own, _ in MEANT)


# ---- rounds ----------------------------------------------------------------------------------------------------------


class Difference(Exception):
    def __init__(self, at, theirs, ours):
        self.at, self.theirs, self.ours = at, theirs, ours


def play(pair, case):
    """Plays a case to both servers; raises at the first difference."""
    connections = [Connection(port) for port in pair]
    try:
        for connection in connections:
            connection.ask(["HELLO", case["resp"]])
            connection.ask(["FLUSHALL"])
            for name in ("hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries"):
                connection.ask(["CONFIG", "SET", name, case["compact"]])
        for at, words in enumerate(case["commands"]):
            for connection in connections:
                connection.send(words)
            theirs, ours = (normal(words, connection.read()) for connection in connections)
            if theirs != ours and not is_meant(words, theirs, ours):
                raise Difference(at, theirs, ours)
    finally:
        for connection in connections:
            connection.socket.close()


def differs(pair, case):
    try:
        play(pair, case)
    except (Difference, ConnectionError, socket.timeout) as difference:
        return difference
    return None


def cut(pair, case):
    """The same case without what the difference does not need."""
    commands = case["commands"]
    at = len(commands) - 2
    while at >= 0:
        shorter = dict(case, commands=commands[:at] + commands[at + 1:])
        if differs(pair, shorter):
            commands = shorter["commands"]
        at -= 1
    return dict(case, commands=commands)


def make(seed):
    d = Dice(seed)
    commands = grammar(d)
    return {"seed": seed, "resp": d.choice(["2", "3"]), "compact": d.choice(["128", "2"]),
            "commands": [d.choice(commands)() for _ in range(d.randint(COMMANDS_MIN, COMMANDS_MAX))]}


def start(command, directory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = open(os.path.join(directory, "server.log"), "ab")
    process = subprocess.Popen([word.format(port=port) for word in command], cwd=directory, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process, port
        except OSError:
            time.sleep(0.02)
    process.kill()
    sys.exit(f"{command[0]} does not listen")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--corpus", action="store_true")
    parser.add_argument("--most", type=int, default=1, help="differences after which it stops")
    options = parser.parse_args()
    binary = os.environ.get("CLOAKROOM_BIN", str(ROOT / "target" / "release" / "cloakroom"))
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        redis, redis_port = start(["redis-server", "--port", "{port}", "--save", ""], one)
        own, own_port = start([binary, "--port", "{port}", "--http-port", "0"], two)
        pair, found, played = (redis_port, own_port), 0, 0
        try:
            cases = [json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))]
            if options.corpus:
                rounds = iter(cases)
            else:
                rounds = (make(number) for number in range(seed, seed + (options.rounds or 1 << 40)))
                print(f"seed {seed}", flush=True)
            end = time.monotonic() + (options.seconds or 1e9)
            for case in rounds:
                if time.monotonic() > end:
                    break
                played += 1
                if not differs(pair, case):
                    continue
                found += 1
                short = cut(pair, case)
                difference = differs(pair, short)
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
        print(f"{played - found} passed, {found} failed")
        sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
