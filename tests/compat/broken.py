"""Malformed requests to cloakroom alone: it answers a protocol error or closes; it never hangs, never dies, and never takes memory
because a length was announced.

Bounded: a number of cases or of seconds, then a few scenarios that hold many connections open. A fault is raised as `Fault`.
"""
import contextlib
import random
import socket
import time

CLOSES_WITHIN = 5
ANSWERS_WITHIN = 3
MEGABYTE = 1 << 20
# What a connection may cost while it has announced much and sent little.
ROOM_PER_PEER = 128 * 1024
# What the allocator and the shared buffers may keep besides.
SLACK = 16 * MEGABYTE

PROTOCOL_ERROR = b"-ERR Protocol error"
VALID = [b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhello\r\n", b"PING\r\n", b"SET a 'x y'\r\n",
         b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", b"*4\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\nx\r\n$0\r\n\r\n"]
LENGTHS = [b"-1", b"-2", b"0", b"1", b"2", b"100", b"536870912", b"536870913", b"1048576", b"1048577", b"2147483647", b"4294967296",
           b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"99999999999999999999", b"", b"x", b"+1", b" 1", b"01", b"1 ", b"1.0", b"0x1"]
# Certainly no RESP: an error in Redis' wording and the end are due, without that the client ends its side.
CERTAIN = [
    b"*9223372036854775807\r\n", b"*99999999999999999999\r\n", b"*1048577\r\n", b"*x\r\n", b"*1.0\r\n", b"*1\r\n$536870913\r\n", b"*1\r\n$-2\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n", b"*1\r\n$\r\n", b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*1\r\n%1\r\n", b"*1\r\n~1\r\n", b"*1\r\n+PING\r\n", b"*1\r\nPING\r\n", b"*1\r\n\r\n", b"*1\r\n" * 100_000,
    b"*2\r\n$4\r\nECHO\r\n" + b"*1\r\n" * 1000, b"*" + b"1" * 70_000, b"*1\r\n$" + b"1" * 70_000, b"a" * 70_000, b"'open\r\n", b'"open\r\n', b"'a'b\r\n", b"SET a \x00\r\n", b"\x00" * 10,
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9223372036854775807\r\n", b"*1\r\n$4294967296\r\n",
]


class Fault(Exception):
    pass


class Server:
    """Where the server listens, and how much memory it has."""

    def __init__(self, port, process):
        self.port, self.process = port, process
        self.steady = self.connect()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), CLOSES_WITHIN)

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def ask(self, *words):
        """One command on the connection that stays; its reply as it comes."""
        self.steady.settimeout(ANSWERS_WITHIN)
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        try:
            self.steady.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            return self.steady.recv(65536)
        except OSError as error:
            raise Fault(f"{words[0]} on a connection that does nothing wrong: {error}") from error

    def is_well(self):
        if self.process.poll() is not None:
            raise Fault("the server has ended")
        if self.ask("PING") != b"+PONG\r\n":
            raise Fault("PING is not answered by PONG")


def until_end(connection, seconds=CLOSES_WITHIN, keep=1 << 16):
    """What comes until the server closes; the first bytes of it, and how many there were."""
    kept, count, end = b"", 0, time.monotonic() + seconds
    while True:
        connection.settimeout(max(0.01, end - time.monotonic()))
        try:
            some = connection.recv(1 << 16)
        except ConnectionError:
            return kept, count
        except TimeoutError as error:
            raise Fault(f"no end after {seconds} s, {count} bytes came: {kept[-200:]!r}") from error
        if not some:
            return kept, count
        count += len(some)
        kept = (kept + some)[-keep:]


def send(connection, pieces):
    """Sends until the server has closed."""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            connection.sendall(piece)


def pieces(dice, data):
    """The bytes in one piece, or in many small ones."""
    if len(data) > 4096 or dice.random() < 0.5:
        return [data]
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randint(1, 8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)]) if start < end]


def garbage(dice):
    """Bytes that may be wrong anywhere."""
    kind = dice.randrange(6)
    data = b"".join(dice.choice(VALID) for _ in range(dice.randint(1, 6)))
    if kind == 0:
        return data[:dice.randrange(len(data))]
    if kind == 1:
        some = bytearray(data)
        for _ in range(dice.randint(1, 5)):
            some[dice.randrange(len(some))] = dice.choice(b"\x00\r\n*$:-0129'\"\xff " + bytes([dice.randrange(256)]))
        return bytes(some)
    if kind == 2:
        return bytes(dice.randrange(256) for _ in range(dice.randint(1, 300)))
    if kind == 3:
        return data + dice.choice(b"*$%~>:+-") .to_bytes(1, "big") + dice.choice(LENGTHS) + dice.choice([b"\r\n", b"\n", b"\r", b""]) + dice.choice(VALID)
    if kind == 4:
        return b"*2\r\n$" + dice.choice(LENGTHS) + b"\r\nGET\r\n$" + dice.choice(LENGTHS) + b"\r\n" + bytes(dice.choice(b"ab\r\n") for _ in range(20))
    line = b"".join(dice.choice([b"'", b'"', b"\\", b"\\x", b"\\xzz", b" ", b"\t", b"a", b"PING", b"\x00", b"\r", b"\xc3"]) for _ in range(dice.randint(1, 20)))
    return line + b"\r\n" + data


def one(server, data, parts, is_certain):
    with server.connect() as connection:
        send(connection, parts)
        if not is_certain:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        kept, count = until_end(connection)
        # An answer may be lost when the server closes with bytes unread, which is how a reset comes about.
        if is_certain and count and PROTOCOL_ERROR not in kept:
            raise Fault(f"no protocol error for {data[:60]!r}: {kept[-100:]!r}")
    server.is_well()


def hold_open(server, data, count=100):
    """Many who have announced much and send no more."""
    before = server.memory()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(server.connect()) for _ in range(count)]
        for peer in peers:
            send(peer, [data])
        server.is_well()
        time.sleep(0.1)
        grown = server.memory() - before
        if grown > count * ROOM_PER_PEER + SLACK:
            raise Fault(f"{count} times {data[:40]!r} took {grown >> 20} MB")
    server.is_well()


def slow_reader(server):
    """One who asks for much and reads nothing is cut before it takes the memory."""
    server.ask("SET", "big", "x" * MEGABYTE)
    before, most = server.memory(), 0
    with server.connect() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(1)
        with contextlib.suppress(OSError):
            peer.sendall(b"GET big\r\n" * 1000)
        for _ in range(10):
            server.is_well()
            most = max(most, server.memory() - before)
            time.sleep(0.1)
        # What the kernel still holds for it would be read for long.
        peers = server.ask("CLIENT", "LIST").count(b"id=")
    if peers != 1 or most > 128 * MEGABYTE:
        raise Fault(f"{peers - 1} slow readers are there after 1 s, and took {most >> 20} MB")
    server.ask("DEL", "big")


def strangers(server):
    """Before AUTH: no long requests, no long words, no endless pipeline whose answers nobody reads."""
    if server.ask("CONFIG", "SET", "requirepass", "secret") != b"+OK\r\n":
        raise Fault("no password can be set")
    try:
        silent = server.connect()
        began = time.monotonic()
        for data in (b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$16385\r\n"):
            one(server, data, [data], True)
        hold_open(server, b"*10\r\n$4\r\nAUTH\r\n$16384\r\n" + b"x" * 16000)
        before = server.memory()
        with server.connect() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(1)
            with contextlib.suppress(OSError):
                for _ in range(100):
                    peer.sendall(b"*1\r\n$4\r\nPING\r\n" * 10_000)
            server.is_well()
            grown = server.memory() - before
            if grown > 8 * MEGABYTE:
                raise Fault(f"a stranger who reads nothing took {grown >> 20} MB")
        with silent:
            until_end(silent, 15)
            if time.monotonic() - began < 5:
                raise Fault("a stranger is sent away at once")
    finally:
        server.ask("CONFIG", "SET", "requirepass", "")


def patterns(server):
    """Patterns that backtrack are matched in time."""
    pattern = "a*" * 40 + "b"
    key = "a" * 65536
    server.ask("SET", key, "1")
    for words in (["KEYS", pattern], ["SCAN", "0", "MATCH", pattern, "COUNT", "1000"], ["KEYS", "*" * 1000 + "b"], ["KEYS", "[" * 30000], ["KEYS", "*a*a*a*a*" + "?" * 200 + "b"],
                  ["PSUBSCRIBE", pattern], ["PUBLISH", key, "x"], ["PUNSUBSCRIBE"], ["CONFIG", "GET", pattern], ["ACL", "SETUSER", "u", "~" + pattern], ["ACL", "DRYRUN", "u", "GET", key],
                  ["ACL", "DELUSER", "u"]):
        if words[0] == "PUBLISH":
            server.ask("PING")
        server.ask(*words)
        server.is_well() if not words[0].startswith("P") else None
    server.steady.close()
    server.steady = server.connect()
    server.ask("DEL", key)


def many_keys(server, count=100_000):
    """What walks all keys leaves others their turn."""
    for start in range(0, count, 1000):
        server.ask("MSET", *(word for number in range(start, start + 1000) for word in (f"key:{number}", "x")))
    for words in (["KEYS", "*"], ["KEYS", "nothing*"], ["SCAN", "0", "MATCH", "nothing", "COUNT", "1000000"], ["DBSIZE"], ["FLUSHALL"]):
        with server.connect() as other:
            other.sendall(b" ".join(word.encode() for word in words) + b"\r\n")
            server.is_well()
            other.shutdown(socket.SHUT_WR)
            until_end(other, 20)


SCENARIOS = [slow_reader, strangers, patterns, many_keys] + [
    (lambda data: lambda server: hold_open(server, data))(data) for data in (
        b"*1\r\n$536870912\r\n", b"*1\r\n$536870912\r\nabc", b"*1048576\r\n", b"*1048576\r\n$0\r\n\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$536870912\r\n" + b"x" * 1000,
        b"a" * 60_000, b"*1\r\n$" + b"0" * 60_000)]


def run(port, process, seed, rounds, seconds):
    """Returns the number of cases that passed; raises `Fault` with the seed of the one that did not."""
    server, dice = Server(port, process), random.Random(seed)
    for data in CERTAIN:
        one(server, data, pieces(dice, data), True)
    for scenario in SCENARIOS:
        scenario(server)
    before, end, done = server.memory(), time.monotonic() + seconds, 0
    while (not rounds or done < rounds) and time.monotonic() < end:
        dice = random.Random(seed + done)
        data = garbage(dice)
        try:
            one(server, data, pieces(dice, data), False)
        except Fault as fault:
            raise Fault(f"seed {seed + done}: {fault}: {data!r}") from fault
        done += 1
    if server.memory() - before > SLACK:
        raise Fault(f"{done} cases left {(server.memory() - before) >> 20} MB")
    return len(CERTAIN) + len(SCENARIOS) + done
