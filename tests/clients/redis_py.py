"""redis-py 8 (RESP3 by default, RESP2 on request, and asyncio) against a server.

Database 9 is emptied and used; session keys live in database 0 and are told
apart by a random token. redis-py's pipelines are MULTI/EXEC unless told
otherwise, so each one here says `transaction=False`: what is tested is many
commands in one write, not transactions.
"""

import asyncio
import os
import secrets
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError
from redis.retry import Retry

from checks import Checks, address, equal, error_rows, eventually, finish, refused

SERVER = address("SERVER")
LOCKED = address("AUTH_SERVER")
PASSWORD = os.environ["AUTH_PASSWORD"]


def converse(name, proto, **options):
    checks = Checks(name)
    check = checks.check

    def client(**more):
        return redis.Redis(**{"db": 9, "decode_responses": True, **SERVER, **options, **more})

    r = client(client_name="first", single_connection_client=True)

    with check("connects, is ready and selects its database"):
        assert r.ping()
        equal(r.client_info()["db"], "9" if isinstance(r.client_info()["db"], str) else 9)
        assert r.flushdb()
        equal(r.dbsize(), 0)

    with check("names itself and is listed"):
        equal(r.client_getname(), "first")
        assert r.client_setname("second")
        me = r.client_id()
        (row,) = [row for row in r.client_list() if int(row["id"]) == me]
        equal(row["name"], "second")
        equal(row["laddr"], f"127.0.0.1:{SERVER['port']}")
        equal(r.client_list(client_id=[me])[0]["name"], "second")
        equal(int(r.client_info()["id"]), me)

    with check("a value lives exactly as long as its PX says"):
        assert r.set("short", "lived", px=60_000)
        equal(r.get("short"), "lived")
        assert 0 < r.pttl("short") <= 60_000
        assert r.set("short", "lived", px=100)
        time.sleep(0.11)
        equal(r.get("short"), None)
        equal(r.exists("short"), 0)
        equal(r.ttl("short"), -2)
        equal(r.pttl("short"), -2)

    with check("an expired key is reclaimed without being read"):
        r.psetex("unread", 50, "x")
        eventually("the key to leave DBSIZE", lambda: r.dbsize() == 0)

    with check("SETEX, PSETEX and SET's EX, PX, EXAT, PXAT set the deadline"):
        now = int(time.time() * 1000)
        assert r.setex("a", 100, "v")
        assert r.psetex("b", 100_000, "v")
        assert r.set("c", "v", ex=100)
        assert r.set("d", "v", px=100_000)
        assert r.set("e", "v", exat=now // 1000 + 100)
        assert r.set("f", "v", pxat=now + 100_000)
        for key in "abcdef":
            assert 95_000 < r.pttl(key) <= 100_000, f"{key}: {r.pttl(key)}"
        equal(r.pexpiretime("f"), now + 100_000)

    with check("NX, XX, GET and KEEPTTL hold"):
        equal(r.set("opt", "1", nx=True), True)
        equal(r.set("opt", "2", nx=True), None)
        equal(r.set("none", "2", xx=True), None)
        equal(r.set("opt", "3", ex=50, xx=True), True)
        equal(r.set("opt", "4", keepttl=True, get=True), "3")
        assert r.ttl("opt") > 45
        equal(r.set("opt", "5", get=True), "4")
        equal(r.ttl("opt"), -1)
        equal(r.set("opt", "6", nx=True, get=True), "5")
        equal(r.get("opt"), "5")
        equal(r.setnx("opt", "7"), False)
        equal(r.getset("opt", "8"), "5")
        equal(r.getdel("opt"), "8")
        equal(r.get("opt"), None)

    with check("values are bytes: empty, binary, unicode, a megabyte"):
        raw = client(decode_responses=False)
        binary, large = b"\x00\r\n\xff$1\r\n", os.urandom(1 << 20)
        raw.set(b"empty", b"")
        raw.set(binary, binary)
        r.set("clé", "Ελλάδα 🧥")
        raw.set("large", large)
        equal(raw.get("empty"), b"")
        equal(raw.get(binary), binary)
        equal(r.get("clé"), "Ελλάδα 🧥")
        assert raw.get("large") == large, "the megabyte came back changed"
        equal(r.strlen("large"), 1 << 20)
        raw.delete(binary)  # no text: RANDOMKEY must not hand it to a client that decodes
        raw.close()

    with check("MSET, MSETNX, MGET keep their order and show gaps"):
        assert r.mset({"m1": "1", "m2": "2"})
        equal(r.msetnx({"m2": "x", "m3": "x"}), False)
        equal(r.mget("m2", "nope", "m1", "m3", "m2"), ["2", None, "1", None, "2"])
        equal(r.msetnx({"m3": "3", "m4": "4"}), True)

    with check("counters count"):
        equal(r.incr("n"), 1)
        equal(r.incrby("n", 41), 42)
        equal(r.decr("n"), 41)
        equal(r.decrby("n", 50), -9)
        equal(r.incrbyfloat("n", 10.5), 1.5)
        r.setex("hits", 100, "9")
        equal(r.incr("hits"), 10)
        assert r.ttl("hits") > 95, "INCR keeps the deadline"

    with check("APPEND, GETRANGE, SETRANGE, SUBSTR, LCS cut and join"):
        equal(r.append("s", "Hello"), 5)
        equal(r.append("s", " World"), 11)
        equal(r.getrange("s", -5, -1), "World")
        equal(r.substr("s", 0, 4), "Hello")
        equal(r.setrange("s", 6, "Redis"), 11)
        equal(r.get("s"), "Hello Redis")
        equal(r.setrange("padded", 3, "x"), 4)
        equal(r.get("padded"), "\0\0\0x")
        r.set("t", "Yellow Redis")
        equal(r.lcs("s", "t"), "ello Redis")
        equal(r.lcs("s", "t", len=True), 10)

    with check("EXPIRE and its kin move the deadline, PERSIST lifts it"):
        r.set("x", "v")
        equal(r.ttl("x"), -1)
        equal(r.expire("x", 100), True)
        equal(r.expire("x", 50, gt=True), False)
        equal(r.expire("x", 50, lt=True), True)
        equal(r.expire("x", 50, nx=True), False)
        equal(r.pexpire("x", 70_000, xx=True), True)
        assert r.ttl("x") in (69, 70)
        at = int(time.time()) + 90
        equal(r.expireat("x", at), True)
        equal(r.expiretime("x"), at)
        equal(r.persist("x"), True)
        equal(r.persist("x"), False)
        equal(r.getex("x", ex=30), "v")
        assert r.ttl("x") >= 29
        equal(r.getex("x", persist=True), "v")
        equal(r.ttl("x"), -1)
        equal(r.expire("x", -1), True)
        equal(r.exists("x"), 0)
        equal(r.expire("x", 10), False)

    with check("RENAME and COPY carry value and deadline"):
        r.setex("from", 100, "v")
        assert r.rename("from", "to")
        equal(r.exists("from"), 0)
        assert r.ttl("to") > 95
        equal(r.copy("to", "twin"), True)
        equal(r.copy("to", "twin"), False)
        equal(r.copy("to", "twin", replace=True), True)
        assert r.ttl("twin") > 95
        equal(r.renamenx("to", "twin"), False)
        equal(r.delete("to", "twin", "nope"), 2)

    with check("OBJECT, TYPE, MEMORY USAGE, TOUCH describe a key"):
        r.mset({"int": "123", "short": "abc", "raw": "r" * 100})
        equal(r.object("ENCODING", "int"), "int")
        equal(r.object("ENCODING", "short"), "embstr")
        equal(r.object("ENCODING", "raw"), "raw")
        equal(r.object("ENCODING", "nope"), None)
        equal(r.type("raw"), "string")
        equal(r.type("nope"), "none")
        assert r.memory_usage("raw") >= 100
        equal(r.touch("int", "short", "nope"), 2)
        assert r.randomkey()

    with check("a pipeline answers in order and survives an error in its middle"):
        pipe = r.pipeline(transaction=False)
        for i in range(1_000):
            pipe.setex(f"p:{i}", 60, i)
        pipe.incr("raw")
        for i in range(1_000):
            pipe.get(f"p:{i}")
        replies = pipe.execute(raise_on_error=False)
        equal(len(replies), 2_001)
        error = replies.pop(1_000)
        assert isinstance(error, ResponseError) and "value is not an integer or out of range" in str(error), error
        equal(replies[:1_000], [True] * 1_000)
        equal(replies[1_000:], [str(i) for i in range(1_000)])

    with check("SCAN finds every key that stays, once or more; KEYS agrees"):
        seen = set(r.scan_iter(match="p:*", count=50))
        equal(seen, {f"p:{i}" for i in range(1_000)})
        equal(len(r.keys("p:99?")), 10)
        equal(r.scan(0, count=5_000, _type="list")[1], [])
        equal(r.unlink(*seen), 1_000)

    with check("databases are apart; MOVE and SWAPDB carry keys across"):
        other, third = client(db=10), client(db=11)
        other.flushdb()
        r.set("here", "9")
        equal(other.get("here"), None)
        equal(r.move("here", 10), True)
        equal(other.get("here"), "9")
        assert r.swapdb(10, 11)
        equal(other.get("here"), None)
        equal(third.get("here"), "9")
        assert third.flushdb(asynchronous=True)
        other.close()
        third.close()

    with check("CONFIG gets by pattern, sets, and puts back"):
        assert r.config_get("maxmemory")["maxmemory"].isdigit()
        assert "maxmemory-policy" in r.config_get("maxmemory*")
        before = r.config_get("timeout")["timeout"]
        assert r.config_set("timeout", 1234)
        equal(r.config_get("time*ut", "port")["timeout"], "1234")
        assert r.config_set("timeout", before)
        equal(r.config_get("no-such-setting"), {})
        assert r.config_resetstat()

    with check("INFO, COMMAND, TIME, ECHO, WAIT, SLOWLOG answer as tools expect"):
        info = r.info()
        assert len(info["redis_version"].split(".")) == 3
        equal(info["role"], "master")
        equal(info["tcp_port"], SERVER["port"])
        assert info["process_id"] > 0 and info["used_memory"] > 0 and info["connected_clients"] >= 1
        assert info["db9"]["keys"] > 0, info["db9"]
        assert "role" not in r.info("server")
        assert r.command_count() > 60
        assert "getex" in [str(n).lower() for n in r.command_list()]
        row = {k.lower(): v for k, v in r.command().items()}["get"]
        equal((row["arity"], row["first_key_pos"], row["last_key_pos"], row["step_count"]), (2, 1, 1, 1))
        assert {"readonly", "fast"} <= set(row["flags"]), row["flags"]
        equal(r.command_getkeys("MSET", "a", "1", "b", "2"), ["a", "b"])
        assert abs(r.time()[0] - time.time()) < 5
        equal(r.echo("hello"), "hello")
        equal(r.wait(0, 10), 0)
        assert r.slowlog_len() >= 0 and isinstance(r.slowlog_get(1), list)
        assert r.client_no_evict("ON") and r.client_unpause()

    with check(f"HELLO tells protocol {proto} and who the server is"):
        hello = r.execute_command("HELLO")
        if isinstance(hello, list):
            hello = dict(zip(hello[::2], hello[1::2]))
        assert isinstance(hello, dict), hello
        equal((hello["server"], hello["proto"], hello["mode"], hello["role"]), ("redis", proto, "standalone", "master"))
        equal(hello["id"], r.client_id())
        equal(hello["modules"], [])

    with check("every error has Redis' own words and changes nothing"):
        r.mset({"err": "text", "errmax": 2**63 - 1})
        keys = r.dbsize()
        for words, text in error_rows("err"):
            # redis-py takes the code off where it has an exception class for it.
            with refused(ResponseError, text.removeprefix("ERR ")):
                r.execute_command(*words)
        equal((r.get("err"), r.ttl("err"), r.dbsize()), ("text", -1, keys))

    with check("a killed connection comes back by itself, with its name and database"):
        victim = client(client_name="victim", single_connection_client=True)
        victim.set("survivor", "1")
        before = victim.client_id()
        equal(r.client_kill_filter(_id=before), 1)
        equal(victim.get("survivor"), "1")
        assert victim.client_id() != before
        equal(victim.client_getname(), "victim")
        equal(r.client_kill_filter(_id=before), 0)
        victim.close()

    with check("QUIT says OK and closes; the next command opens again"):
        guest = client(single_connection_client=True)
        before = guest.client_id()
        assert guest.execute_command("QUIT")
        equal(guest.get("err"), "text")
        assert guest.client_id() != before
        guest.close()

    with check("a server with a password lets nobody in without it"):
        # A refusal counts as a broken connection for redis-py, which would try again for seconds.
        once = {**LOCKED, "retry": Retry(NoBackoff(), 0)}
        with client(**once, db=0) as stranger:
            try:
                stranger.get("x")
            except (AuthenticationError, ResponseError) as error:
                # On RESP3 it is the HELLO that is refused, in other words.
                assert "uthenticat" in str(error), error
            else:
                raise AssertionError("let in without a password")
        with refused(AuthenticationError, "invalid username-password pair or user is disabled."):
            client(**once, password="wrong").ping()
        with refused(AuthenticationError, "invalid username-password pair or user is disabled."):
            client(**once, username="nobody", password=PASSWORD).ping()
        with client(**once, password=PASSWORD) as guest:
            assert guest.set("auth", "in", px=60_000)
        with client(**once, username="default", password=PASSWORD) as guest:
            equal(guest.get("auth"), "in")

    with check("a session key works as any other, and is never listed with its token"):
        door = client(db=0)
        token = secrets.token_urlsafe(24)
        key = f"auth:session:{token}"
        equal(door.get(key), None)
        assert door.setex(key, 100, "one")
        assert door.set(key, "two", ex=60, xx=True)
        equal(door.get(key), "two")
        equal(door.exists(key), 1)
        assert door.ttl(key) > 55
        equal(door.expire(key, 30), True)
        assert 25_000 < door.pttl(key) <= 30_000
        equal(door.mget(key, key + "x"), ["two", None])

        cloakroom = "cloakroom_version" in door.info("server")
        listed = set(door.keys("auth:session:*")) | set(door.scan_iter(count=100))
        equal(any(token in found for found in listed), not cloakroom)
        if cloakroom:
            assert any(found.startswith("auth:session:") for found in listed), "the entry is listed, hashed"

        equal(door.delete(key), 1)
        equal(door.get(key), None)
        equal(door.ttl(key), -2)
        if cloakroom:
            try:
                door.set(key, "late", ex=5)
            except ResponseError as error:
                assert str(error).startswith("FENCED ") and token not in str(error), error
            else:
                raise AssertionError("a late SET of a signed-out session was taken")
            equal(door.get(key), None)
        door.close()

    with check("a session really expires"):
        door = client(db=0)
        key = f"auth:session:{secrets.token_urlsafe(24)}"
        door.psetex(key, 60_000, "brief")
        equal(door.get(key), "brief")
        door.psetex(key, 100, "brief")
        time.sleep(0.11)
        equal(door.get(key), None)
        equal(door.exists(key), 0)
        door.close()

    with check("a connection of a pool that the server has closed for idleness is opened anew"):
        pooled = client()
        pooled.set("kept", "1")
        before = r.config_get("timeout")["timeout"]
        r.config_set("timeout", 1)
        try:
            mine = pooled.client_id()
            eventually("the idle connection is closed", lambda: not any(int(row["id"]) == mine for row in r.client_list()))
            equal(pooled.get("kept"), "1")
            assert pooled.client_id() != mine
        finally:
            r.config_set("timeout", before)
        pooled.close()

    r.flushdb()
    r.close()
    return checks


def converse_async():
    checks = Checks("redis-py 8 asyncio")

    async def share_a_pool():
        async with redis.asyncio.Redis(**SERVER, db=9, decode_responses=True) as r:
            await r.flushdb()
            await asyncio.gather(*(r.set(f"k{i}", i, px=60_000) for i in range(100)))
            values = await asyncio.gather(*(r.get(f"k{i}") for i in range(100)))
            equal(values, [str(i) for i in range(100)])
            async with r.pipeline(transaction=False) as pipe:
                assert await pipe.incr("k1").ttl("k1").delete("k2").execute() in ([2, 60, 1], [2, 59, 1], [2, 58, 1])
            equal(len([key async for key in r.scan_iter(match="k*")]), 99)
            await r.flushdb()

    with checks.check("a hundred tasks share a pool of connections"):
        asyncio.run(share_a_pool())
    return checks


try:
    finish(
        converse("redis-py 8", 3),
        converse("redis-py 8 on RESP2", 2, protocol=2),
        converse_async(),
    )
except ConnectionError as error:
    print(f"FAIL redis-py 8: the server went away: {error}")
    raise SystemExit(1)
