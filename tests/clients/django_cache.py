"""Django's own Redis cache and its cache-backed sessions against a server.

Database 9 is emptied and used for the cache; the sessions live in database 0
under `auth:session:`, where a cloakroom keeps them as secrets and ends them at
DEL. Django sends SET with EX and NX, GET, MGET, DEL, EXISTS, EXPIRE, PERSIST,
INCRBY and FLUSHDB. One call is left out: `set_many` goes through a redis-py
pipeline, which is MULTI, MSET, EXPIRE …, EXEC.
"""

import asyncio
import time

import django
import redis
from django.conf import settings
from redis.exceptions import ResponseError

from checks import Checks, address, equal, eventually, finish

SERVER = address("SERVER")
URL = f"redis://{SERVER['host']}:{SERVER['port']}"
SESSION_SECONDS = 60


def session_key(key, _prefix, _version):
    """Django's session keys under the prefix that a cloakroom keeps secret."""
    return "auth:session:" + key.removeprefix("django.contrib.sessions.cache")


settings.configure(
    SECRET_KEY="only for this test",
    ALLOWED_HOSTS=["testserver"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": URL,
            "OPTIONS": {"db": 9},
            "TIMEOUT": 100,
            "KEY_PREFIX": "shop",
        },
        "sessions": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": URL,
            "KEY_FUNCTION": session_key,
        },
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_CACHE_ALIAS="sessions",
    SESSION_COOKIE_AGE=SESSION_SECONDS,
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache, caches  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402


def login(request, user):
    request.session.cycle_key()
    request.session["user"] = user
    return JsonResponse({"user": user})


def me(request):
    return JsonResponse({"user": request.session.get("user")})


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


def logout(request):
    request.session.flush()
    return JsonResponse({"user": None})


urlpatterns = [path("login/<user>", login), path("me", me), path("visit", visit), path("logout", logout)]


def caching(r):
    checks = Checks("Django cache")
    check = checks.check

    with check("sets, gets, and says when there is nothing"):
        cache.clear()
        cache.set("a", {"deep": [1, 2, 3], "text": "Ελλάδα"})
        equal(cache.get("a"), {"deep": [1, 2, 3], "text": "Ελλάδα"})
        equal(cache.get("nope"), None)
        equal(cache.get("nope", "else"), "else")
        cache.set("none", None)
        equal(cache.get("none", "else"), None)
        equal(cache.get_or_set("made", lambda: 42), 42)
        equal(cache.get("made"), 42)

    with check("has_key, delete and delete_many tell what was there"):
        assert "a" in cache and not cache.has_key("nope")
        equal(cache.delete("a"), True)
        equal(cache.delete("a"), False)
        cache.set("d1", 1)
        cache.set("d2", 2)
        cache.delete_many(["d1", "d2", "nope"])
        assert "d1" not in cache and "d2" not in cache

    with check("add writes only where nothing is"):
        equal(cache.add("once", "first"), True)
        equal(cache.add("once", "second"), False)
        equal(cache.get("once"), "first")
        equal(cache.add("zero", "x", timeout=0), True)
        assert "zero" not in cache

    with check("get_many leaves out what is not there"):
        cache.set("m1", 1)
        cache.set("m2", "two")
        equal(cache.get_many(["m1", "nope", "m2"]), {"m1": 1, "m2": "two"})

    with check("incr and decr count on what set wrote"):
        cache.set("n", 40)
        equal(cache.incr("n"), 41)
        equal(cache.incr("n", 9), 50)
        equal(cache.decr("n", 8), 42)
        equal(cache.get("n"), 42)
        try:
            cache.incr("nope")
        except ValueError:
            pass
        else:
            raise AssertionError("a missing key was counted")

    with check("timeouts: the default, its own, none, zero, and negative"):
        def left(key):
            return r.ttl(cache.make_key(key))

        cache.set("t", 1)
        assert 95 < left("t") <= 100
        cache.set("t", 1, timeout=50)
        assert 45 < left("t") <= 50
        equal(cache.touch("t", 80), True)
        assert 75 < left("t") <= 80
        equal(cache.touch("t", None), True)
        equal(left("t"), -1)
        cache.set("t", 1, timeout=None)
        equal(left("t"), -1)
        equal(cache.touch("nope"), False)
        cache.set("t", 1, timeout=0)
        assert "t" not in cache
        cache.set("t", 1)
        cache.set("t", 1, timeout=-5)
        assert "t" not in cache

    with check("an entry really expires"):
        cache.set("brief", "x", timeout=1)
        equal(cache.get("brief"), "x")
        time.sleep(1.1)
        equal(cache.get("brief"), None)
        equal(cache.add("brief", "y"), True)

    with check("versions are apart"):
        cache.set("v", "one", version=1)
        cache.set("v", "two", version=2)
        equal((cache.get("v", version=1), cache.get("v", version=2)), ("one", "two"))
        equal(cache.incr_version("v", version=2), 3)
        equal((cache.get("v", version=2), cache.get("v", version=3)), (None, "two"))
        assert r.exists("shop:1:v")

    with check("the asynchronous face does the same"):
        async def later():
            await cache.aset("async", 1, timeout=30)
            equal(await cache.aget("async"), 1)
            equal(await cache.aincr("async"), 2)
            equal(await cache.adelete("async"), True)
        asyncio.run(later())

    with check("clear empties the database"):
        cache.clear()
        equal(r.dbsize(), 0)
    return checks


def sessions(r):
    checks = Checks("Django sessions")
    check = checks.check
    cloakroom = "cloakroom_version" in r.info("server")
    ann, ben = Client(), Client()

    def ask(browser, address):
        return browser.get("/" + address).json()

    def key_of(browser):
        return "auth:session:" + browser.cookies["sessionid"].value

    with check("nobody is signed in at first"):
        equal(ask(ann, "me"), {"user": None})
        assert "sessionid" not in ann.cookies

    with check("two people sign in and each sees only themselves"):
        ask(ann, "login/ann")
        ask(ben, "login/ben")
        for _ in range(5):
            equal((ask(ann, "me"), ask(ben, "me")), ({"user": "ann"}, {"user": "ben"}))

    with check("a session lives on the server with the cookie's age"):
        assert SESSION_SECONDS - 5 < r.ttl(key_of(ann)) <= SESSION_SECONDS
        r.expire(key_of(ann), 20)
        for visits in range(1, 6):
            equal(ask(ann, "visit"), {"visits": visits})
        assert r.ttl(key_of(ann)) > SESSION_SECONDS - 5, "written again with its full age"

    with check("signing in gives a new key and carries the session over"):
        before = key_of(ann)
        ask(ann, "login/anna")
        assert key_of(ann) != before
        equal(r.exists(before), 0)
        equal(ask(ann, "visit"), {"visits": 6})

    with check("no listing shows the key of a session"):
        token = key_of(ann).removeprefix("auth:session:")
        listed = set(r.keys("auth:session:*")) | set(r.scan_iter())
        equal(any(token in found for found in listed), not cloakroom)

    with check("signing out ends the session, also for its old cookie"):
        stale = key_of(ann).removeprefix("auth:session:")
        ask(ann, "logout")
        equal(r.exists("auth:session:" + stale), 0)
        thief = Client()
        thief.cookies["sessionid"] = stale
        equal(ask(thief, "me"), {"user": None})
        equal(ask(ben, "me"), {"user": "ben"})
        if cloakroom:
            # A request that was under way at the sign-out cannot bring the session back.
            try:
                caches["sessions"].set(SessionStore.cache_key_prefix + stale, {"user": "ann"}, 5)
            except ResponseError as error:
                assert str(error).startswith("FENCED ") and stale not in str(error), error
            else:
                raise AssertionError("a late write of a signed-out session was taken")
            equal(ask(thief, "me"), {"user": None})

    with check("a session that is not used is gone after its time"):
        eve = SessionStore()
        eve["user"] = "eve"
        eve.set_expiry(1)
        eve.save()
        equal(SessionStore(eve.session_key)["user"], "eve")
        eventually("its end", lambda: not SessionStore().exists(eve.session_key), 2.0)
        equal(SessionStore(eve.session_key).get("user"), None)

    ask(ben, "logout")
    return checks


finish(
    caching(redis.Redis(**SERVER, db=9)),
    sessions(redis.Redis(**SERVER, db=0, decode_responses=True)),
)
