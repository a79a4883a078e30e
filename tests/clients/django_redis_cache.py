"""django-redis as a cache and for sessions.

It sends MULTI through redis-py's pipelines, SCAN with MATCH for patterns, scripts for its locks and for INCR of keys with a
TTL, and hashes and sets through what it exposes of them. Database 10 is emptied and used.
"""

import django
import redis
from django.conf import settings

from checks import Checks, address, equal, eventually, finish

SERVER = address("SERVER")
URL = f"redis://{SERVER['host']}:{SERVER['port']}/10"

settings.configure(
    SECRET_KEY="only for this test",
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL, "KEY_PREFIX": "shop", "TIMEOUT": 100}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    INSTALLED_APPS=["django.contrib.sessions"],
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402
from django.core.cache import cache  # noqa: E402

checks = Checks("django-redis")
check = checks.check
plain = redis.Redis.from_url(URL)
plain.flushdb()

with check("a value of any kind is kept with its TTL"):
    cache.set("basket", {"items": [1, 2, 3], "total": 9.5}, timeout=50)
    equal(cache.get("basket"), {"items": [1, 2, 3], "total": 9.5})
    assert 45 <= cache.ttl("basket") <= 50
    cache.persist("basket")
    equal(cache.ttl("basket"), None)
    assert cache.expire("basket", 1) and cache.touch("basket", 60)

with check("many are set in one transaction, read and deleted"):
    cache.set_many({f"item:{at}": at for at in range(100)}, timeout=60)
    equal(cache.get_many([f"item:{at}" for at in range(100)]), {f"item:{at}": at for at in range(100)})
    cache.delete_many([f"item:{at}" for at in range(50)])
    equal(sorted(cache.keys("item:*")), sorted(f"item:{at}" for at in range(50, 100)))

with check("keys of a pattern are listed and deleted, others stay"):
    equal(len(list(cache.iter_keys("item:*"))), 50)
    equal(cache.delete_pattern("item:*"), 50)
    assert cache.get("basket")

with check("counters count, and refuse what is not there"):
    cache.set("visits", 1, timeout=60)
    equal(cache.incr("visits", 4), 5)
    equal(cache.decr("visits"), 4)
    assert 0 < cache.ttl("visits") <= 60
    try:
        cache.incr("nothing")
    except ValueError:
        pass
    else:
        raise AssertionError("it counted what is not there")

with check("add does nothing where something is"):
    assert cache.add("once", 1) and not cache.add("once", 2)
    equal(cache.get_or_set("once", lambda: 3), 1)

with check("a lock is held by one"):
    with cache.lock("job", timeout=5):
        assert not cache.lock("job", timeout=5).acquire(blocking=False)
    assert cache.lock("job", timeout=5).acquire(blocking=False)

with check("a value expires"):
    cache.set("short", "x", timeout=1)
    eventually("it to be gone", lambda: cache.get("short") is None)

with check("a session is kept, read by its key and ended"):
    session = SessionStore()
    session["user"] = "ada"
    session.save()
    equal(SessionStore(session.session_key)["user"], "ada")
    session.flush()
    equal(SessionStore(session.session_key).get("user"), None)

with check("clearing leaves nothing"):
    cache.clear()
    equal(plain.dbsize(), 0)

finish(checks)
