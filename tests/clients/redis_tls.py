"""redis-cli, redis-benchmark and redis-py over TLS with client certificates, and over a Unix socket.

Database 9 is emptied and used. `TLS_DIR` has `ca.pem`, and `server` and `client` with `.pem` and `.key`.
"""

import asyncio
import os
import subprocess

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from checks import Checks, address, equal, finish

SERVER = address("TLS_SERVER")
SOCKET = os.environ["UNIX_SOCKET"]
CA, CERT, KEY = (os.path.join(os.environ["TLS_DIR"], name) for name in ("ca.pem", "client.pem", "client.key"))

# More than a socket takes at once.
LARGE = "x" * (3 << 20)
TOOL_SECONDS = 18


def run(*words, stdin=""):
    done = subprocess.run(words, input=stdin.encode(), capture_output=True, timeout=TOOL_SECONDS)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, f"{words[0]} left with {done.returncode}: {out} {err}"
    return out


def over_tls(tool, *words, shown=True):
    own = ("--cert", CERT, "--key", KEY) if shown else ()
    there = ("-h", "localhost", "-p", str(SERVER["port"]), "--tls", "--cacert", CA)
    return (tool, *there, *own, *words)


def tools():
    checks = Checks("redis-cli over TLS and Unix sockets")
    check = checks.check

    with check("redis-cli is let in with its certificate"):
        equal(run(*over_tls("redis-cli", "-n", "9", "set", "greeting", "hello", "EX", "60")), "OK\n")
        equal(run(*over_tls("redis-cli", "-n", "9", "get", "greeting")), "hello\n")

    with check("redis-cli is kept out without one"):
        done = subprocess.run(over_tls("redis-cli", "ping", shown=False), capture_output=True, timeout=TOOL_SECONDS)
        assert b"PONG" not in done.stdout, done.stdout
        assert done.returncode != 0 or done.stderr, done

    with check("redis-cli takes in a large value over a pipe"):
        out = run(*over_tls("redis-cli", "-n", "9", "-x", "set", "large"), stdin=LARGE)
        equal(out, "OK\n")
        equal(run(*over_tls("redis-cli", "-n", "9", "get", "large")), LARGE + "\n")

    with check("redis-benchmark runs to its end"):
        out = run(*over_tls("redis-benchmark", "-t", "set,get", "-n", "2000", "-c", "10", "-P", "8", "-q", "--dbnum", "9"))
        assert "SET" in out and "GET" in out, out

    with check("redis-cli -s comes in by the Unix socket"):
        equal(run("redis-cli", "-s", SOCKET, "-n", "9", "get", "greeting"), "hello\n")
        row = run("redis-cli", "-s", SOCKET, "client", "info")
        assert f" addr={SOCKET}:0 laddr={SOCKET}:0 " in row and " flags=U " in row, row

    return checks


def python():
    checks = Checks("redis-py over TLS and Unix sockets")
    check = checks.check
    once = {"retry": Retry(NoBackoff(), 0), "decode_responses": True, "db": 9}
    secure = {"ssl": True, "ssl_ca_certs": CA, **once, **SERVER, "host": "localhost"}
    shown = {"ssl_certfile": CERT, "ssl_keyfile": KEY}

    with check("is let in with its certificate, reads and writes"):
        with redis.Redis(**secure, **shown) as r:
            assert r.ping()
            assert r.set("large", LARGE, px=60_000)
            equal(r.get("large"), LARGE)
            pipe = r.pipeline(transaction=False)
            for number in range(500):
                pipe.set(f"key:{number}", number)
            assert all(pipe.execute())

    with check("is kept out without one"):
        with redis.Redis(**secure) as r:
            try:
                r.ping()
            except ConnectionError:
                pass
            else:
                raise AssertionError("let in")

    with check("does not trust an authority of its own"):
        with redis.Redis(**{**secure, "ssl_ca_certs": CERT}, **shown) as r:
            try:
                r.ping()
            except ConnectionError as error:
                assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
            else:
                raise AssertionError("trusted")

    with check("hears what others publish over TLS"):
        with redis.Redis(**secure, **shown) as r, r.pubsub(ignore_subscribe_messages=True) as hears:
            hears.subscribe("news")
            hears.get_message(timeout=9)
            equal(r.publish("news", "hi"), 1)
            equal(hears.get_message(timeout=9)["data"], "hi")

    with check("asyncio: a hundred commands by four clients over TLS"):
        async def many():
            turns = asyncio.Semaphore(4)
            async with redis.asyncio.Redis(**secure, **shown, max_connections=4) as r:
                async def one():
                    async with turns:
                        await r.incr("count")
                await asyncio.gather(*(one() for _ in range(100)))
                return await r.get("count")
        with redis.Redis(**secure, **shown) as r:
            r.delete("count")
        equal(asyncio.run(many()), "100")

    with check("comes in by the Unix socket"):
        with redis.Redis(unix_socket_path=SOCKET, **once) as r:
            equal(r.get("large"), LARGE)
            equal(r.client_info()["addr"], f"{SOCKET}:0")
            assert r.flushdb()
        with redis.from_url(f"unix://{SOCKET}?db=9") as r:
            assert r.ping()

    return checks


finish(tools(), python())
