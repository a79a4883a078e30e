"""redis-cli and redis-benchmark, as Debian's redis-tools has them, against a server.

Database 9 is emptied and used. redis-benchmark writes to database 9 as well
(`--dbnum`). What needs other types than strings (`--hotkeys` needs an LFU
policy, `--functions-rdb` functions) is not asked for.
"""

import fcntl
import os
import pty
import secrets
import select
import struct
import subprocess
import termios
import time

from checks import Checks, address, equal, error_rows, finish

SERVER = address("SERVER")
LOCKED = address("AUTH_SERVER")
PASSWORD = os.environ["AUTH_PASSWORD"]

# Far above what any of these takes, below what a check may take.
TOOL_SECONDS = 18


def run(tool, *words, server=SERVER, stdin="", env=None):
    """One call of a tool; its output, or an error that shows what it said."""
    done = subprocess.run(
        [tool, "-h", server["host"], "-p", str(server["port"]), *words],
        input=stdin.encode(),
        capture_output=True,
        timeout=TOOL_SECONDS,
        env={**os.environ, **(env or {})},
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise AssertionError(f"{tool} {' '.join(words)} left with {done.returncode}: {out} {err}")
    assert err == "", f"{tool} {' '.join(words)} complained: {err}"
    return out


def cli(*words, **options):
    return run("redis-cli", "-n", "9", *words, **options).removesuffix("\n")


def refused(*words, server=SERVER):
    """`redis-cli -e` leaves with 1 and says the error on its error output."""
    done = subprocess.run(
        ["redis-cli", "-h", server["host"], "-p", str(server["port"]), "-n", "9", "-e", *words],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=TOOL_SECONDS,
    )
    equal(done.returncode, 1)
    return done.stderr.decode().strip("\n")


def command_line():
    checks = Checks("redis-cli")
    check = checks.check

    with check("sets, reads, counts, expires, deletes"):
        equal(cli("FLUSHDB"), "OK")
        equal(cli("PING"), "PONG")
        equal(cli("SET", "coat", "42", "PX", "60000"), "OK")
        equal(cli("GET", "coat"), "42")
        equal(cli("SET", "coat", "42", "PX", "100"), "OK")
        time.sleep(0.11)
        equal(cli("GET", "coat"), "")
        equal(cli("TTL", "coat"), "-2")
        equal(cli("SETEX", "coat", "100", "1"), "OK")
        equal(cli("INCR", "coat"), "2")
        assert 95 < int(cli("TTL", "coat")) <= 100
        equal(cli("DEL", "coat"), "1")

    with check("--no-raw shows types as people know them"):
        cli("SET", "s", 'a"b\n')
        equal(cli("--no-raw", "GET", "s"), '"a\\"b\\n"')
        equal(cli("--no-raw", "STRLEN", "s"), "(integer) 4")
        equal(cli("--no-raw", "GET", "nope"), "(nil)")
        equal(cli("--no-raw", "MGET", "s", "nope"), '1) "a\\"b\\n"\n2) (nil)')
        equal(cli("--raw", "GET", "s"), 'a"b\n')
        equal(cli("--no-raw", "GET"), "(error) ERR wrong number of arguments for 'get' command")

    with check("-3 speaks RESP3 and shows maps and nulls"):
        hello = cli("-3", "--no-raw", "HELLO")
        assert '"proto" => (integer) 3' in hello and '"server" => "redis"' in hello, hello
        equal(cli("-3", "--no-raw", "GET", "nope"), "(nil)")
        assert '"timeout" => ' in cli("-3", "--no-raw", "CONFIG", "GET", "timeout")
        assert '"summary" => ' in cli("-3", "--no-raw", "COMMAND", "DOCS", "GET")
        assert '"proto"\n' in cli("-2", "--no-raw", "HELLO"), "RESP2 has a flat list"
        equal(cli("-3", "--json", "MGET", "s", "nope"), '["a\\"b\\n",null]')

    with check("-x takes a value from the standard input, with every byte of it"):
        equal(cli("-x", "SET", "in", stdin="first\nsecond\n"), "OK")
        equal(cli("STRLEN", "in"), "13")

    with check("-r and -i repeat"):
        equal(cli("-r", "3", "-i", "0.01", "INCR", "again"), "1\n2\n3")

    with check("commands on the standard input run one after another"):
        script = 'SET q 1\nINCR q\nGET nope\nSELECT 10\nDBSIZE\nSELECT 9\nSET "two words" "x y"\nGET "two words"\nECHO bye\n'
        equal(cli(stdin=script), "OK\n2\n\nOK\n0\nOK\nOK\nx y\nbye")

    with check("--pipe sends a thousand commands and counts the errors"):
        lines = "".join(f"SET pipe:{i} {i} EX 60\r\n" for i in range(1_000))
        said = cli("--pipe", stdin=lines)
        assert "errors: 0, replies: 1000" in said, said
        equal(cli("GET", "pipe:999"), "999")
        protocol = "".join(f"*3\r\n$3\r\nSET\r\n${len(f'raw:{i}')}\r\nraw:{i}\r\n$1\r\nx\r\n" for i in range(500))
        assert "errors: 0, replies: 500" in cli("--pipe", stdin=protocol)
        try:
            cli("--pipe", stdin="INCR s\r\nPING\r\n")
        except AssertionError as error:
            assert "errors: 1, replies: 2" in str(error), error
        else:
            raise AssertionError("an error went unseen")

    with check("--scan lists every key, and those of a pattern"):
        listed = cli("--scan", "--pattern", "pipe:*").split("\n")
        equal(set(listed), {f"pipe:{i}" for i in range(1_000)})
        equal(len(set(cli("--scan").split("\n"))), int(cli("DBSIZE")))

    with check("--bigkeys and --memkeys go through all keys and name the biggest"):
        cli("SET", "biggest", "b" * 5_000)
        total = cli("DBSIZE")
        said = cli("--bigkeys")
        assert f"Sampled {total} keys in the keyspace!" in said, said
        assert 'Biggest string found \'"biggest"\' has 5000 bytes' in said, said
        said = cli("--memkeys")
        assert f"Sampled {total} keys in the keyspace!" in said, said
        assert 'Biggest string found \'"biggest"\' has ' in said, said

    with check("--stat and --latency read INFO and PING"):
        terminal("--stat", "-i", "0.1", talk=[(b"------- data ------", None), (b"\n", None), (b"\n", None), (b"\n", None)])
        # What it says where nobody watches: shortest, longest, average, count.
        equal(len(run("redis-cli", "--latency", "-i", "0.3").split()), 4)

    with check("every error has Redis' own words"):
        cli("MSET", "err", "text", "errmax", str(2**63 - 1))
        for words, text in error_rows("err"):
            equal(refused(*words), text)
        equal(cli("GET", "err"), "text")

    with check("INFO's sections and CLIENT LIST are there to be read"):
        info = cli("INFO")
        for section in ("Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Keyspace"):
            assert f"# {section}\r" in info, section
        assert "cmd=client|list" in cli("CLIENT", "LIST")

    with check("a password is asked for, refused, and taken"):
        said = subprocess.run(
            ["redis-cli", "-p", str(LOCKED["port"]), "GET", "x"],
            capture_output=True, stdin=subprocess.DEVNULL, timeout=TOOL_SECONDS,
        ).stdout.decode()
        assert said.startswith("NOAUTH Authentication required."), said
        said = subprocess.run(
            ["redis-cli", "-p", str(LOCKED["port"]), "--no-auth-warning", "-a", "wrong", "PING"],
            capture_output=True, stdin=subprocess.DEVNULL, timeout=TOOL_SECONDS,
        ).stderr.decode()
        equal(said.strip(), "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.")
        equal(cli("PING", server=LOCKED, env={"REDISCLI_AUTH": PASSWORD}), "PONG")
        equal(cli("--user", "default", "--pass", PASSWORD, "--no-auth-warning", "-3", "PING", server=LOCKED), "PONG")

    with check("a session key reads as any other, and no listing shows its token"):
        token = secrets.token_urlsafe(24)
        key = f"auth:session:{token}"

        def door(*words):
            return run("redis-cli", *words).removesuffix("\n")

        equal(door("SETEX", key, "60", "ann"), "OK")
        equal(door("GET", key), "ann")
        assert 55 < int(door("TTL", key)) <= 60
        cloakroom = "cloakroom_version:" in door("INFO", "server")
        for listing in (door("KEYS", "auth:session:*"), door("--scan"), door("--bigkeys"), door("--memkeys")):
            if cloakroom:
                assert token not in listing, "a listing shows the token"
        assert cloakroom or token in door("--scan")
        equal(door("DEL", key), "1")
        equal(door("GET", key), "")
        if cloakroom:
            said = door("SETEX", key, "5", "late")
            assert said.startswith("FENCED ") and token not in said, said

    with check("at a terminal it prompts, hints and helps from COMMAND DOCS"):
        terminal("-n", "9", talk=[
            (b"[9]> ", b"SET typed 'by hand'"),
            (b"OK\r\n", None),
            (b"[9]> ", b"GET typed"),
            (b'"by hand"\r\n', None),
            (b"[9]> ", b"HELP GETEX"),
            (b"6.2.0", None),
            (b"[9]> ", b"SELECT 10"),
            (b"[10]> ", b"QUIT"),
        ])

    cli("FLUSHDB")
    return checks


def terminal(*words, talk):
    """Types at a redis-cli that believes a person sits there.

    `talk` is what must be heard, in order, and what is typed after it.
    """
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("redis-cli", ["redis-cli", "-h", SERVER["host"], "-p", str(SERVER["port"]), *words])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    heard, end = b"", time.monotonic() + TOOL_SECONDS
    try:
        for expected, typed in talk:
            while expected not in heard:
                assert time.monotonic() < end, f"no {expected!r} in {heard!r}"
                if select.select([fd], [], [], 0.1)[0]:
                    heard += os.read(fd, 65_536)
            heard = heard.split(expected, 1)[1]
            if typed:
                os.write(fd, typed + b"\r")
                # What is typed is echoed with the prompt before it, again at each letter.
                while typed + b"\r" not in heard:
                    assert time.monotonic() < end, f"no echo of {typed!r} in {heard!r}"
                    if select.select([fd], [], [], 0.1)[0]:
                        heard += os.read(fd, 65_536)
                heard = heard.rsplit(typed + b"\r", 1)[1]
    finally:
        os.close(fd)  # a hang-up, which ends a redis-cli that is still there
        os.waitpid(pid, 0)


def benchmark():
    checks = Checks("redis-benchmark")
    check = checks.check

    def bench(*words, **options):
        said = run("redis-benchmark", "--dbnum", "9", "-q", *words, **options)
        for bad in ("error", "Error", "ERR", "WARNING"):
            assert bad not in said, said
        return said

    with check("ping, set, get, incr, mset, 16 at a time"):
        said = bench("-t", "ping,set,get,incr,mset", "-n", "2000", "-P", "16")
        for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
            assert f"{name}: " in said, said
        equal(said.count("requests per second"), 6)
        equal(cli("GET", "counter:__rand_int__"), "2000")

    with check("many keys and clients, values of a kilobyte"):
        bench("-t", "set,get", "-n", "2000", "-c", "20", "-r", "500", "-d", "1024", "-P", "4")
        assert 400 < len(cli("--scan", "--pattern", "key:0*").split("\n")) <= 500

    with check("-3 and a command of one's own"):
        bench("-3", "-r", "10", "-n", "1000", "-P", "16", "SET", "own:__rand_int__", "x", "EX", "60")
        equal(len(cli("KEYS", "own:*").split("\n")), 10)

    with check("on a server with a password"):
        bench("-a", PASSWORD, "-t", "set,get", "-n", "500", "-P", "16", server=LOCKED)

    cli("FLUSHDB")
    cli("FLUSHDB", server=LOCKED, env={"REDISCLI_AUTH": PASSWORD})
    return checks


finish(command_line(), benchmark())
