"""Hashes, lists, sets, sorted sets, transactions, scripts and Pub/Sub through redis-py 8: RESP2, RESP3 and asyncio.

Database 9 is emptied and used.
"""

import asyncio
import threading
import time

import redis
import redis.asyncio
from redis.exceptions import NoScriptError, ResponseError, WatchError

from checks import Checks, address, equal, eventually, finish

SERVER = address("SERVER")
DATABASE = 9


def fails(error, call):
    """The call must raise this error."""
    try:
        answer = call()
    except error:
        return
    raise AssertionError(f"answered {answer!r} instead of {error.__name__}")


def converse(name, protocol):
    checks = Checks(name)
    check = checks.check
    r = redis.Redis(**SERVER, db=DATABASE, protocol=protocol, decode_responses=True)
    other = redis.Redis(**SERVER, db=DATABASE, protocol=protocol, decode_responses=True)
    r.flushdb()

    with check("a hash keeps fields, counts and is scanned"):
        equal(r.hset("user:1", mapping={"name": "Ada", "visits": 1, "score": "1.5"}), 3)
        equal(r.hgetall("user:1"), {"name": "Ada", "visits": "1", "score": "1.5"})
        equal(r.hincrby("user:1", "visits", 41), 42)
        equal(r.hincrbyfloat("user:1", "score", 0.1), 1.6)
        equal(r.hmget("user:1", ["name", "nothing"]), ["Ada", None])
        equal(dict(r.hscan_iter("user:1", match="v*")), {"visits": "42"})
        equal(r.hdel("user:1", "name", "visits", "score"), 3)
        equal(r.exists("user:1"), 0)

    with check("ten thousand fields are all there, each once"):
        r.hset("large", mapping={f"field:{at}": at for at in range(10_000)})
        equal(r.hlen("large"), 10_000)
        fields = [field for field, _ in r.hscan_iter("large", count=500)]
        equal(sorted(set(fields)), sorted(f"field:{at}" for at in range(10_000)))

    with check("a list is a queue from either end"):
        equal(r.rpush("queue", *range(5)), 5)
        equal(r.lpush("queue", "first"), 6)
        equal(r.lrange("queue", 0, -1), ["first", "0", "1", "2", "3", "4"])
        equal(r.lmove("queue", "done", "LEFT", "RIGHT"), "first")
        equal(r.lpop("queue", 2), ["0", "1"])
        equal(r.rpop("queue"), "4")
        equal(r.ltrim("queue", 0, 0), True)
        equal(r.lpos("queue", "2"), 0)

    with check("a pop that blocks ends when something comes, or in time"):
        began = time.monotonic()
        equal(r.blpop(["nothing", "nor this"], timeout=0.2), None)
        assert 0.15 < time.monotonic() - began < 10
        later = threading.Timer(0.1, lambda: other.rpush("jobs", "one"))
        later.start()
        equal(list(r.blpop(["idle", "jobs"], timeout=5)), ["jobs", "one"])
        later.join()
        equal(r.exists("jobs"), 0)

    with check("sets know members, and each other"):
        equal(r.sadd("a", 1, 2, 3, "x"), 4)
        equal(r.sadd("b", 2, 3, 4), 3)
        equal({str(member) for member in r.smembers("a")}, {"1", "2", "3", "x"})
        equal({str(member) for member in r.sinter("a", "b")}, {"2", "3"})
        equal(r.sunionstore("c", ["a", "b"]), 5)
        equal(r.smismember("a", [1, 9]), [1, 0])
        equal(r.sintercard(2, ["a", "b"], limit=1), 1)
        equal(len(r.spop("c", 5)), 5)
        equal(r.exists("c"), 0)

    with check("a sorted set ranks, counts and pops"):
        equal(r.zadd("board", {"ada": 3, "bob": 1, "eve": 2.5}), 3)
        equal(r.zadd("board", {"bob": 9}, gt=True, ch=True), 1)
        equal([name for name, _ in r.zrange("board", 0, -1, withscores=True)], ["eve", "ada", "bob"])
        equal(r.zrevrank("board", "ada"), 1)
        equal(r.zincrby("board", 0.5, "eve"), 3.0)
        equal(r.zrangebyscore("board", "(3", "+inf"), ["bob"])
        equal(r.zcount("board", 3, 3), 2)
        equal(r.zremrangebyscore("board", 0, 3), 2)
        assert "bob" in str(r.zpopmin("board")) and not r.exists("board")

    with check("a sliding window counts what is young enough"):
        now = int(time.time() * 1000)
        with r.pipeline() as pipe:
            pipe.zremrangebyscore("window", 0, now - 1000).zadd("window", {f"{now}-1": now}).zcard("window").expire("window", 1)
            equal(pipe.execute(), [0, 1, 1, True])

    with check("bits are set, counted and read as numbers"):
        equal([r.setbit("bits", at, 1) for at in (1, 7, 100)], [0, 0, 0])
        equal((r.bitcount("bits"), r.bitpos("bits", 1), r.getbit("bits", 100)), (3, 1, 1))
        equal(r.bitfield("counters").incrby("u8", "#1", 300, "SAT").get("u8", "#1").execute(), [255, 255])

    with check("a transaction is whole, and none when what it watches has changed"):
        with r.pipeline() as pipe:
            equal(pipe.set("t", 1).incr("t").get("t").execute(), [True, 2, "2"])
            pipe.watch("t")
            other.set("t", "changed")
            pipe.multi()
            pipe.set("t", "lost")
            fails(WatchError, pipe.execute)
        equal(r.get("t"), "changed")
        with r.pipeline() as pipe:
            pipe.set("t", "text").incr("t").set("after", 1)
            equal([str(type(answer).__name__) for answer in pipe.execute(raise_on_error=False)], ["bool", "ResponseError", "bool"])

    with check("increments under WATCH are none lost among eight threads"):
        r.set("shared", 0)

        def add():
            with redis.Redis(**SERVER, db=DATABASE, protocol=protocol) as mine:
                for _ in range(25):
                    mine.transaction(add_one, "shared")

        def add_one(pipe):
            value = int(pipe.get("shared"))
            pipe.multi()
            pipe.set("shared", value + 1)

        threads = [threading.Thread(target=add) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        equal(r.get("shared"), "200")

    with check("scripts run whole, by text and by digest, and are loaded when unknown"):
        limit = r.register_script(
            "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end "
            "return {n, redis.call('PTTL', KEYS[1])}"
        )
        r.script_flush()
        for expected in (1, 2, 3):
            count, left = limit(keys=["limit"], args=[5_000])
            equal(count, expected)
            assert 0 < left <= 5_000
        fails(NoScriptError, lambda: r.evalsha("0" * 40, 0))
        fails(ResponseError, lambda: r.eval("return redis.call('nosuch')", 0))
        equal(r.eval("return {1, 'two', false, {3.9}}", 0), [1, "two", None, [3]])

    with check("functions are loaded, listed, called, dumped and restored"):
        code = """#!lua name=shop
            local function key_of(user) return 'cart:' .. user end
            redis.register_function('add', function(keys, args) return redis.call('hincrby', keys[1], args[1], args[2]) end)
            redis.register_function{function_name='cart', callback=function(keys, args)
                return redis.call('hgetall', key_of(args[1]))
            end, flags={'no-writes'}}
        """
        r.function_flush()
        equal(r.function_load(code), "shop")
        fails(ResponseError, lambda: r.function_load(code))
        equal(r.function_load(code, replace=True), "shop")
        equal(r.fcall("add", 1, "cart:7", "apples", 3), 3)
        equal(r.fcall("add", 1, "cart:7", "apples", 2), 5)
        equal(r.fcall_ro("cart", 0, "7"), ["apples", "5"])
        fails(ResponseError, lambda: r.fcall_ro("add", 1, "cart:7", "apples", 1))
        fails(ResponseError, lambda: r.fcall("nosuch", 0))
        [library] = r.function_list("sh*", withcode=True)
        if isinstance(library, list):
            library = dict(zip(library[::2], library[1::2]))
        equal((library["library_name"], library["engine"], library["library_code"]), ("shop", "LUA", code))
        equal(len(library["functions"]), 2)
        stats = r.function_stats()
        if isinstance(stats, list):
            stats = dict(zip(stats[::2], stats[1::2]))
        equal(stats["running_script"], None)
        raw = redis.Redis(**SERVER, db=DATABASE, protocol=protocol)
        dump = raw.function_dump()
        equal(r.function_delete("shop"), True)
        equal(r.function_list(), [])
        equal(raw.function_restore(dump), True)
        equal(r.fcall("add", 1, "cart:7", "apples", 1), 6)
        pipe = r.pipeline()
        pipe.fcall("add", 1, "cart:7", "pears", 1)
        pipe.fcall_ro("cart", 0, "7")
        equal(pipe.execute(), [1, ["apples", "6", "pears", "1"]])
        equal(r.function_flush("SYNC"), True)
        raw.close()

    with check("a lock is held by one, and let go by its holder alone"):
        lock = r.lock("lock", timeout=5)
        assert lock.acquire(blocking=False)
        assert not other.lock("lock", timeout=5).acquire(blocking=False)
        assert lock.extend(5)
        lock.release()
        equal(r.exists("lock"), 0)

    with check("what is published reaches channels and patterns"):
        with r.pubsub(ignore_subscribe_messages=True) as inbox:
            inbox.subscribe("news")
            inbox.psubscribe("new?")
            eventually("both to be known", lambda: inbox.get_message() is None and other.publish("news", "?") == 2)
            # Some of the questions may have reached one of the two.
            other.publish("news", "hello")
            heard = []
            eventually("the message", lambda: [heard.append(m) for m in iter(inbox.get_message, None) if m["data"] == "hello"] is not None and len(heard) >= 2)
            equal(sorted((m["type"], m["channel"], m["data"]) for m in heard), [("message", "news", "hello"), ("pmessage", "news", "hello")])

    with check("an expired key is announced on time"):
        r.delete("window")  # it would be announced as well
        r.config_set("notify-keyspace-events", "Ex")
        with other.pubsub(ignore_subscribe_messages=True) as inbox:
            inbox.subscribe(f"__keyevent@{DATABASE}__:expired")
            inbox.get_message(timeout=9)
            began, message = time.monotonic(), None
            r.psetex("short", 150, "x")
            while message is None and time.monotonic() - began < 10:
                message = inbox.get_message(timeout=0.5)
            equal(message and message["data"], "short")
            assert time.monotonic() - began > 0.1
        r.config_set("notify-keyspace-events", "")

    with check("a value is dumped, and restored under another name with its TTL"):
        r.zadd("from", {"a": 1, "b": 2})
        with redis.Redis(**SERVER, db=DATABASE, protocol=protocol) as raw:
            dump = raw.dump("from")
            assert raw.restore("to", 60_000, dump)
            fails(ResponseError, lambda: raw.restore("to", 0, dump))
            fails(ResponseError, lambda: raw.restore("bad", 0, dump[:-1] + b"\0"))
        equal(r.zrange("to", 0, -1), ["a", "b"])
        assert 0 < r.pttl("to") <= 60_000

    with check("a list is sorted by what other keys say"):
        r.rpush("ids", 1, 2, 3)
        r.mset({"w:1": 30, "w:2": 10, "w:3": 20, "n:1": "one", "n:2": "two", "n:3": "three"})
        equal(r.sort("ids", by="w:*", get="n:*"), ["two", "three", "one"])

    with check("the wrong type is refused and nothing is changed"):
        r.set("text", "x")
        for call in (lambda: r.lpush("text", 1), lambda: r.hset("text", "f", 1), lambda: r.sadd("text", 1), lambda: r.zadd("text", {"m": 1})):
            fails(ResponseError, call)
        equal(r.get("text"), "x")

    r.close()
    other.close()
    return checks


def converse_async():
    checks = Checks("redis-py 8 asyncio, types")

    async def together():
        async with redis.asyncio.Redis(**SERVER, db=DATABASE, decode_responses=True) as r:
            await r.flushdb()
            takers = [asyncio.create_task(r.blpop(["work"], timeout=5)) for _ in range(10)]
            await asyncio.sleep(0.1)
            await r.rpush("work", *range(10))
            taken = [value for _, value in await asyncio.gather(*takers)]
            equal(sorted(taken), [str(at) for at in range(10)])
            async with r.pipeline(transaction=True) as pipe:
                equal(await pipe.sadd("s", 1).scard("s").execute(), [1, 1])
            async with r.pubsub() as inbox:
                await inbox.subscribe("room")
                equal((await inbox.get_message(timeout=9))["type"], "subscribe")
                await r.publish("room", "hi")
                equal((await inbox.get_message(timeout=9))["data"], "hi")

    with checks.check("tasks share a pool: blocking pops, a transaction, Pub/Sub"):
        asyncio.run(together())
    return checks


finish(converse("redis-py 8, RESP3, types", 3), converse("redis-py 8, RESP2, types", 2), converse_async())
