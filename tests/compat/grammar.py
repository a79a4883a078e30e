"""What differ.py sends: seeded random commands of all types, odd arguments among them."""
import hashlib
import random

KEYS = [f"k{number}" for number in range(6)]
# Sorted sets whose scores are all alike: what the commands by lexical order answer for others is undefined.
LEX_KEYS = ["l0", "l1"]
ALL_KEYS = KEYS + LEX_KEYS

INTEGERS = ["0", "1", "-1", "2", "3", "5", "10", "100", "-5", "127", "128", "255", "32768", "70000", "2147483647", "2147483648",
            "4294967296", "-2147483649", "-9223372036854775808", "-9223372036854775807", "9223372036854775807",
            "9223372036854775808", "18446744073709551615", "01", "+1", " 1", "1 ", "-0", "", "abc", "1.0", "1e3", "0x1"]
FLOATS = ["0", "1", "-1", "1.5", "-2.25", "0.1", "3.0", "1e5", "1e-7", "1e300", "-1e300", "inf", "-inf", "+inf", "nan", "",
          "abc", "0x10", "1e400", "5e-324", "-0", ".5", "5.", "Infinity", "1e17", "123456789012345678", "1.7976931348623157e308",
          " 1", "1 ", "0.30000000000000004", "3.0e-3"]
WORDS = ["a", "b", "c", "d", "e", "foo", "bar", "hello world", "", "1", "2", "10", "-3", "12345678901234567890", "1.5",
         # No other word may begin like this one: where Redis sorts, a NUL ends it.
         "q\x00\xff\x01", "x" * 30, "y" * 70, "\xe9", "A", "B", "\r\n", "z" * 300, "9223372036854775807", "-9223372036854775808"]
SMALL = ["0", "1", "2", "3", "-1", "-2", "5", "-10", "10"]
HUGE = ["1000000", "9223372036854775807", "4294967296"]
OPTIONS = ["NX", "XX", "GT", "LT", "CH", "INCR", "GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST", "WITHSCORES", "LIMIT", "REV",
           "BYSCORE", "BYLEX", "COUNT", "MATCH", "REPLACE", "DB", "STORE", "BY", "ALPHA", "DESC", "WEIGHTS", "AGGREGATE", "LEFT",
           "MIN", "BIT", "BYTE", "LEN", "IDX", "RANK", "MAXLEN", "WITHVALUES"]

# Random by nature, or waiting for a time that is an argument: these are sent as they are made, or not at all.
UNCHANGED = {"SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE",
             "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "SETBIT", "EVAL", "EVAL_RO", "SORT", "SORT_RO", "OBJECT", "@", "@CROSS",
             # Others in Redis 7.2.
             "ZRANK", "ZREVRANK",
             "PSETEX", "PEXPIRE", "SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "CLIENT", "ACL", "COMMAND", "EVALSHA", "EVALSHA_RO",
             "FCALL", "FCALL_RO", "FUNCTION", "@FUNCTIONS"}

SCRIPTS = [
    "return redis.call(unpack(ARGV))", "return redis.pcall(unpack(ARGV))", "redis.setresp(3) return redis.call(unpack(ARGV))",
    "redis.setresp(3) return redis.pcall(unpack(ARGV))",
]
KEPT = "return {KEYS[1], redis.call(unpack(ARGV))}"
KEPT_SHA1 = hashlib.sha1(KEPT.encode()).hexdigest()
ODD_SCRIPTS = [
    "return {KEYS[1], #ARGV, 3.7, false, {1, nil, 2}}", "return redis.error_reply('MY failure')", "return redis.error_reply('')",
    "return redis.error_reply('-MY failure')", "return {err = 'x y'}", "return {err = 1}", "return {ok = 'fine'}", "return {ok = 2}",
    "return redis.status_reply('fine')", "return redis.status_reply('a\\r\\nb')", "return tonumber(ARGV[1])", "return -0.0", "return 1/0", "return -1/0", "return 0/0",
    "return 1e18", "return 2^53", "return 2^63", "return -2^63", "return true", "return false", "return nil", "return", "return function() end",
    "return {}", "return {{}, {{}}}", "return {1, 2, nil, 4}", "return {a = 1}", "return {double = 3.5}", "return {double = 1e300 * 1e300}",
    "redis.setresp(3) return {double = 3.5}", "redis.setresp(3) return {map = {a = 1}}", "redis.setresp(3) return {set = {a = true}}",
    "redis.setresp(3) return {big_number = '12345678901234567890'}", "return {big_number = '1\\r\\n2'}", "return {verbatim_string = {format = 'txt', string = 'abc'}}",
    "return {map = {a = 1}}", "return {set = {x = true}}", "redis.setresp(3) return true", "redis.setresp(3) return {false, true}", "redis.setresp(4) return 1",
    "return cjson.encode({ARGV[1], 1, true})", "return cjson.decode(ARGV[1])", "return cjson.encode({1, {}, 1.5, false})", "return #KEYS .. ARGV[1]",
    "return cmsgpack.pack({1, 'a', 2.5, true})", "return cmsgpack.unpack(cmsgpack.pack({ARGV[1], -1, 70000}))", "return struct.pack('>I2i4', 258, -2)",
    "return {struct.unpack('<I2', 'ab')}", "return bit.bor(1, 6)", "return bit.tohex(65535)", "return redis.sha1hex(ARGV[1])", "return tostring(3.0)", "return tostring(1e15)",
    "return ARGV[1] + 1", "return 'a' .. 1.5", "x = 1", "return x", "return redis.call()", "return redis.call('nothere')", "return redis.pcall('get')",
    "return redis.pcall('nothere').err", "local r = redis.pcall('get') return r.err", "return redis.call('get', {})", "return redis.call('set', KEYS[1], 3.0)", "return redis.call('set', KEYS[1], 0.1)",
    "return type(redis.call('get', KEYS[1]))", "return redis.call('multi')", "return redis.call('blpop', KEYS[1], 0)",
    "return redis.call('subscribe', 'x')", "return error('own')", "return error({err = 'own table'})", "error()", "return (", "return string.format('%5.1f|%d|%s', 3.14159, 42, ARGV[1])",
    "redis.log(redis.LOG_DEBUG, 'x')", "return redis.log()", "return {redis.REDIS_VERSION ~= nil, redis.LOG_WARNING}", "return table.concat({1, 2, 'x'}, ',')",
    "local t = {} for i = 1, 100 do t[i] = i end return t", "redis.setresp(3) return redis.call('hgetall', KEYS[1])", "redis.setresp(3) local m = redis.call('hgetall', KEYS[1]) return type(m)",
    "redis.setresp(3) local m = redis.call('zscore', KEYS[1], 'a') return type(m) == 'table' and type(m.double) or type(m)", "redis.setresp(3) return redis.call('smembers', KEYS[1])",
    "return redis.call('exists', KEYS[1], KEYS[1])", "return redis.call('restore', KEYS[1], 0, redis.call('dump', ARGV[1]) or 'x', 'REPLACE')",
]

# Functions that do what their arguments say; `reader` must not write, `counter` remembers, `eater` may always have memory.
LIBRARY = """#!lua name=lib
local count = 0
redis.register_function('call', function(keys, args) return redis.call(unpack(args)) end)
redis.register_function('pcall', function(keys, args) return redis.pcall(unpack(args)) end)
redis.register_function('call3', function(keys, args) redis.setresp(3) return redis.call(unpack(args)) end)
redis.register_function{function_name='reader', flags={'no-writes'}, callback=function(keys, args) return redis.call(unpack(args)) end}
redis.register_function{function_name='kept', description='says its key', flags={'allow-oom', 'allow-stale'},
                        callback=function(keys, args) return {keys[1], redis.call(unpack(args))} end}
redis.register_function('counter', function() count = count + 1 return count end)
"""
CALLING = ["call", "pcall", "call3", "reader", "CALL", "Reader"]
ODD_FUNCTION = "#!lua name=odd\nredis.register_function('odd', function(KEYS, ARGV) %s end)"
# What replies without an order is left out: of a call nobody knows any more what it does.
ODD_LIBRARIES = [ODD_FUNCTION % script for script in ODD_SCRIPTS if "smembers" not in script and "hgetall" not in script and "REDIS_VERSION" not in script] + [
    "", "x", "#!lua", "#!lua\n", "#!lua name=odd", "#!lua name=odd\n", "#!lua name=a-b\n", "#!js name=odd\n", "#! name=odd\n", "#!lua name=odd name=lib\n",
    "#!lua nam=odd\n", "#!LUA 'name=odd'\nredis.register_function('odd', function(k) return k end)", "#!lua name=\"odd\nx", "#!lua name=lib\nx = 1",
    "#!lua name=odd\nredis.register_function('CALL', function() end)", "#!lua name=odd2\nredis.register_function('odd', function() return 2 end)",
] + ["#!lua name=odd\n" + text for text in [
    "x(", "x = 1", "local a = x", "redis.call('ping')", "return redis.sha1hex('')", "error('x')", "local t = nil\nt.x = 1", "redis.log(redis.LOG_DEBUG, 'x')", "redis.register_function()",
    "redis.register_function('odd')", "redis.register_function('odd', 1)", "redis.register_function(7, function() return 7 end)", "redis.register_function('', function() end)",
    "redis.register_function('a b', function() end)", "redis.register_function({})", "redis.register_function{function_name='odd', callback=1}", "redis.register_function{1}",
    "redis.register_function{function_name='odd', callback=function() return 'x' end, flags={'nothere'}}", "redis.register_function('odd', redis.log)",
    "redis.register_function{function_name='odd', callback=function(k, a) return a end, flags={'NO-WRITES', 'no-cluster', 'allow-cross-slot-keys'}, description=5}",
    "local r = redis redis.register_function('odd', function() r.register_function('odd2', function() end) end)",
    "redis.register_function('odd', function() end) redis.register_function('odd', function() end)", "redis.register_function('odd', function(...) return select('#', ...) end)",
]]


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
        return self.choice(["", "("]) + self.choice(["-inf", "+inf", "inf", "0", "1", "2", "1.5", "-1", "abc", "", "nan", "1e5", "-0"])

    def lex(self):
        return self.choice(["-", "+", "[a", "(a", "[c", "(c", "[", "(", "a", "", "[\xff", "(hello world", "-x", "++"])

    def glob(self):
        return self.choice(["*", "k*", "?", "[a-c]", "[^a]", "h*o", "\\*", "*1*", "", "k[0-3]", "[", "**", "[z-a]", "k[", "k\\", "[]", "[^]", "??",
                            "*\x00*", "[\\]]", "*a*a*"])


def grammar(d):
    """A command for each call; names may repeat, so that what is interesting comes up more."""
    k, w, i, f = d.key, d.word, d.int, d.float
    c, m, some, pairs = d.choice, d.maybe, d.some, d.pairs
    lex_key = lambda: c(LEX_KEYS)
    numkeys = lambda: (lambda keys: [c([str(len(keys))] * 18 + ["0", "-1", "100", "x"]), *keys])(some(k, 1, 3))
    aggregate = lambda: m("WEIGHTS", f(), f()) + m("AGGREGATE", c(["SUM", "MIN", "MAX", "AVG"]))
    limit = lambda: m("LIMIT", i(), i())
    side = lambda: c(["LEFT", "RIGHT", "left", "right", "up"])
    far = lambda: c(["100", "200", "100000", "-1", "0", "x", "", "9223372036854775807", "9223372036854775", "-9223372036854775808"])
    far_ms = lambda: c(["100000", "200000", "-1", "0", "x", "", "9223372036854775807", "9223372036854775", "-9223372036854775808"])
    at = lambda: c(["4102444800", "4102444800000", "1", "0", "-1", "9223372036854775807"])
    # A key that SET lets expire at once is counted until somebody finds it.
    to_come = lambda: c(["4102444800000", "0", "-1", "9223372036854775807", "x"])
    expiry = lambda: c([["EX", "100"], ["PX", "100000"], ["EX", far()], ["PX", far_ms()], ["EXAT", to_come()], ["PXAT", to_come()], ["KEEPTTL"], ["PERSIST"], ["EX"]])
    bits = lambda: c(["0", "1", "7", "8", "100", "-1", "4294967296", "4294967295000", "9223372036854775807", "x", ""])
    field = lambda: c(["u8", "i8", "i5", "u63", "i64", "u64", "u2", "i16", "u1", "i1", "u0", "x", "i65", "i63"])
    full = lambda: ["COUNT", c(HUGE[:1] + HUGE[2:])]
    scan = lambda: m("MATCH", d.glob()) + full()
    sort = lambda: c([[], ["ALPHA"], ["ALPHA", "DESC"], ["DESC"], limit(), ["ALPHA", *limit()], ["BY", "nosort", *m("GET", "k*")],
                      ["BY", c(["k*", "k*->f", "w*", "nokey"])], ["BY", "k*->1", "ALPHA"], ["GET", "#", "GET", c(["k*", "k*->a", "x*y", "k*->", "->a"])],
                      ["ALPHA", "GET", "k*->1", "GET", "#"], ["ALPHA", "STORE", k()], ["STORE", k(), *limit()], ["ALPHA", "GET", "nokey*", "STORE", k()],
                      ["BY", "nosort", "STORE", k()], ["LIMIT", "0"], ["BY"], ["GET"]])
    plain = lambda: c([["GET", k()], ["SET", k(), w()], ["INCR", k()], ["HGETALL", k()], ["LPUSH", k(), w()], ["ZRANGE", k(), "0", "-1", "WITHSCORES"],
                       ["SMEMBERS", k()], ["HSET", k(), w(), w()], ["ZADD", k(), f(), w()], ["SADD", k(), w()], ["ZSCORE", k(), w()], ["DEL", k()],
                       ["INCRBYFLOAT", k(), f()], ["SISMEMBER", k(), w()], ["ZINCRBY", k(), f(), w()], ["LPOP", k()], ["TYPE", k()], ["LPOS", k(), w()],
                       ["HMGET", k(), w(), w()], ["MGET", k(), k()], ["EXPIRE", k(), far()], [w()], ["ZPOPMIN", k()], ["LRANGE", k(), "0", "-1"]])
    rule = lambda: c(["on", "off", "~k[0-2]", "~*", "%R~k*", "%W~k1", "%RW~k4", "resetkeys", "allkeys", "+@all", "-@all", "+@read", "-@write", "+@string", "-@dangerous", "+get", "-get", "+set",
                      "+config|get", "-config|set", "+@nothere", "+nothere", "nopass", "resetpass", ">secret", "<secret", "#x", "&c*", "allchannels", "resetchannels", "reset", "x", "",
                      "(+get ~k5)", "(+@write %W~k5)", "clearselectors", "(", "~k ~k", "sanitize-payload", "+@hash", "+@sortedset", "-@list", "+multi", "+eval", "+@scripting", "+fcall", "-function|load", "allcommands", "nocommands"])
    # None that could be different in Redis 7.2, or is a word of the run only.
    known = lambda: (lambda words: ["GET", k()] if words[0] in ("ZRANK", "ZREVRANK") or words[0].startswith("@") or len(words) < 2 else words)(c(rows)())
    rows = [
        # Strings and keys.
        lambda: ["SET", k(), w()], lambda: ["SET", k(), i()],
        lambda: ["SET", k(), i(), *m(c(["NX", "XX", "nx"])), *m("GET"), *m(*expiry()), *m(*expiry(), chance=0.05)],
        lambda: ["GET", k()], lambda: ["GETSET", k(), w()], lambda: ["GETDEL", k()], lambda: ["GETEX", k(), *m(*expiry(), chance=0.7)],
        lambda: ["SETEX", k(), far(), w()], lambda: ["PSETEX", k(), far_ms(), w()],
        lambda: ["APPEND", k(), w()], lambda: ["STRLEN", k()],
        lambda: ["SETRANGE", k(), c(["0", "3", "-1", "x", "12", "536870912", "9223372036854775807", "-9223372036854775808", "70000"]), w()],
        lambda: [c(["GETRANGE", "SUBSTR"]), k(), i(), i()], lambda: [c(["INCR", "DECR"]), k()], lambda: ["DECRBY", k(), i()], lambda: ["INCRBY", k(), i()],
        lambda: ["INCRBYFLOAT", k(), f()], lambda: ["MGET", *some(k)], lambda: ["MSET", *pairs(k, w)],
        lambda: ["MSETNX", *pairs(k, w, 1, 2)], lambda: ["SETNX", k(), w()],
        lambda: ["LCS", k(), k(), *m("LEN"), *m("IDX"), *m("MINMATCHLEN", i()), *m("WITHMATCHLEN")],
        lambda: ["LCS", k(), k(), "IDX", *m("MINMATCHLEN", i()), *m("WITHMATCHLEN")],
        lambda: ["DEL", *some(k)], lambda: ["UNLINK", k()], lambda: [c(["EXISTS", "TOUCH"]), *some(k)], lambda: ["TYPE", k()],
        lambda: ["RENAME", k(), k()], lambda: ["RENAMENX", k(), k()],
        lambda: ["COPY", k(), k(), *m("REPLACE"), *m("DB", c(["0", "1", "15", "16", "-1", "x"]))], lambda: ["MOVE", k(), c(["0", "1", "99", "x", "-1"])],
        lambda: ["SELECT", c(["0", "0", "1", "16", "-1", "x", ""])], lambda: ["SELECT", "0"], lambda: ["SWAPDB", c(["0", "1", "99", "x"]), c(["0", "1", "x"])],
        lambda: [*c([["EXPIRE", k(), far()], ["PEXPIRE", k(), far_ms()]]), *m(c(["NX", "XX", "GT", "LT", "nx", "ZZ"])), *m(c(["NX", "XX", "GT", "LT"]), chance=0.1)],
        lambda: [c(["EXPIREAT", "PEXPIREAT"]), k(), at(), *m(c(["NX", "XX", "GT", "LT"]))],
        lambda: ["PERSIST", k()], lambda: ["TTL", k()], lambda: [c(["EXPIRETIME", "PEXPIRETIME"]), c(["nokey", k()])],
        lambda: ["OBJECT", c(["ENCODING", "IDLETIME", "FREQ", "encoding", "X"]), k()], lambda: ["DBSIZE"],
        lambda: ["KEYS", d.glob()], lambda: ["SORT", k(), *sort()], lambda: ["SORT_RO", k(), *sort()],
        lambda: ["SCAN", "0", *scan(), *m("TYPE", c(["string", "list", "hash", "zset", "set", "x"]))], lambda: [c(["SSCAN", "HSCAN", "ZSCAN"]), k(), "0", *scan()],
        lambda: [c(["SSCAN", "HSCAN", "ZSCAN"]), k(), c(["x", "", "1.0", "18446744073709551616"])], lambda: [c(["SSCAN", "HSCAN", "ZSCAN"]), k(), "0", "COUNT", c(["0", "-1", "x", ""])],
        lambda: ["FLUSHDB", c(["ASYNC", "SYNC", "X"])] if d.random() < 0.1 else ["ECHO", w()], lambda: ["PING", *some(w, 0, 2)],
        lambda: ["RESTORE", k(), c(["0", "-1", "x", "100000"]), w(), *m("REPLACE"), *m("ABSTTL"), *m("IDLETIME", i()), *m("FREQ", i())],
        lambda: ["EVAL", "return redis.call('restore', KEYS[2], ARGV[1], redis.call('dump', KEYS[1]) or 'x', unpack(ARGV, 2))", "2", k(), k(), c(["0", "100000"]), *m("REPLACE", chance=0.8)],
        lambda: ["@CROSS", k(), k()], lambda: ["@", *plain()],
        # Bits.
        lambda: ["SETBIT", k(), c(["0", "1", "7", "8", "100", "-1", "4294967296", "x"]), c(["0", "1", "2", "x"])],
        lambda: ["GETBIT", k(), bits()], lambda: ["BITCOUNT", k(), *m(i(), i(), *m(c(["BIT", "BYTE", "X"])))],
        lambda: ["BITPOS", k(), c(["0", "1", "1", "2", "x"]), *c([[], [i()], [i(), i()], [i(), i(), c(["BIT", "BYTE", "X"])]])],
        lambda: ["BITOP", c(["AND", "OR", "XOR", "NOT", "NAND"]), k(), *some(k, 1, 3)],
        lambda: [c(["BITFIELD", "BITFIELD", "BITFIELD_RO"]), k(), *sum(some(lambda: c([
            ["GET", field(), c(["0", "#1", "7", "-1", "#x", "#", "9223372036854775807", "#9223372036854775807", "4294967290"])],
            ["SET", field(), c(["0", "#2", "3", "100"]), i()],
            ["INCRBY", field(), c(["0", "#1", "5"]), i()],
            ["OVERFLOW", c(["WRAP", "SAT", "FAIL", "X"])]])), [])],
        # Hashes.
        lambda: ["HSET", k(), *pairs(w, w)], lambda: ["HMSET", k(), *pairs(w, i)], lambda: ["HSETNX", k(), w(), w()],
        lambda: ["HGET", k(), w()], lambda: ["HMGET", k(), *some(w)], lambda: ["HGETALL", k()], lambda: ["HDEL", k(), *some(w)],
        lambda: ["HLEN", k()], lambda: ["HSTRLEN", k(), w()], lambda: ["HEXISTS", k(), w()], lambda: ["HKEYS", k()], lambda: ["HVALS", k()],
        lambda: ["HINCRBY", k(), w(), i()], lambda: ["HINCRBYFLOAT", k(), w(), f()],
        lambda: ["HRANDFIELD", k(), c(["0", "1000", "x", "-9223372036854775808", "9223372036854775807", "4611686018427387904"]), *m("WITHVALUES")],
        # Lists.
        lambda: [c(["LPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), k(), *some(w)], lambda: ["RPUSH", k(), *some(w, 3, 12)], lambda: [c(["LPOP", "RPOP"]), k(), *m(i())],
        lambda: ["LRANGE", k(), i(), i()], lambda: ["LLEN", k()], lambda: ["LINDEX", k(), i()], lambda: ["LSET", k(), i(), w()],
        lambda: ["LINSERT", k(), c(["BEFORE", "AFTER", "NEAR"]), w(), w()], lambda: ["LREM", k(), i(), w()], lambda: ["LTRIM", k(), i(), i()],
        lambda: ["LPOS", k(), w(), *m("RANK", i()), *m("COUNT", i()), *m("MAXLEN", i())],
        lambda: ["LMOVE", k(), k(), side(), side()], lambda: ["RPOPLPUSH", k(), k()], lambda: ["LMPOP", *numkeys(), side(), *m("COUNT", i())],
        lambda: [c(["BLPOP", "BRPOP"]), *some(k), c(["0.001", "-1", "x", "inf", "1e300"])], lambda: ["BRPOPLPUSH", k(), k(), "0.001"],
        lambda: ["BLMPOP", c(["0.001", "-1", "x"]), *numkeys(), side(), *m("COUNT", i())], lambda: ["BLMOVE", k(), k(), side(), side(), "0.001"],
        # Sets.
        lambda: ["SADD", k(), *some(w)], lambda: ["SADD", k(), *some(i)], lambda: ["SREM", k(), *some(w)], lambda: ["SCARD", k()],
        lambda: ["SISMEMBER", k(), w()], lambda: ["SMISMEMBER", k(), *some(w)], lambda: ["SMEMBERS", k()], lambda: ["SMOVE", k(), k(), w()],
        lambda: [c(["SINTER", "SUNION", "SDIFF"]), *some(k)], lambda: [c(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), k(), *some(k)],
        lambda: ["SINTERCARD", *numkeys(), *m("LIMIT", i())], lambda: ["SPOP", k(), c(["0", "1000", "-1", "x", "9223372036854775807"])],
        lambda: ["SRANDMEMBER", k(), c(["0", "1000", "x", "-9223372036854775808", "9223372036854775807"])],
        # Sorted sets.
        lambda: ["ZADD", k(), *m(c(["NX", "XX"])), *m(c(["GT", "LT"])), *m("CH"), *m("INCR", chance=0.1), *pairs(f, w)],
        lambda: ["ZADD", k(), *pairs(i, w)], lambda: ["ZADD", k(), *m(c(["NX", "XX", "GT", "LT"])), "INCR", f(), w()], lambda: ["ZINCRBY", k(), f(), w()], lambda: ["ZREM", k(), *some(w)],
        lambda: ["ZADD", k(), *pairs(lambda: c(["1", "2", "-1", "2.5"]), w, 3, 8)],
        lambda: ["ZSCORE", k(), w()], lambda: ["ZMSCORE", k(), *some(w)], lambda: ["ZCARD", k()], lambda: ["ZCOUNT", k(), d.bound(), d.bound()],
        lambda: [c(["ZRANK", "ZREVRANK"]), k(), w()],
        lambda: ["ZRANGE", k(), i(), i(), *m("REV"), *m("WITHSCORES")],
        lambda: ["ZRANGE", k(), d.bound(), d.bound(), "BYSCORE", *m("REV"), *limit(), *m("WITHSCORES")],
        lambda: ["ZREVRANGE", k(), i(), i(), *m("WITHSCORES")],
        lambda: [c(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]), k(), d.bound(), d.bound(), *m("WITHSCORES"), *limit()],
        lambda: ["ZRANGESTORE", k(), k(), i(), i(), *m("REV")], lambda: ["ZRANGESTORE", k(), k(), d.bound(), d.bound(), "BYSCORE", *m("REV"), *limit()],
        lambda: ["ZREMRANGEBYRANK", k(), i(), i()], lambda: ["ZREMRANGEBYSCORE", k(), d.bound(), d.bound()],
        lambda: [c(["ZPOPMIN", "ZPOPMAX"]), k(), *m(i())], lambda: ["ZMPOP", *numkeys(), c(["MIN", "MAX", "MID"]), *m("COUNT", i())],
        lambda: [c(["ZUNION", "ZINTER"]), *numkeys(), *aggregate(), *m("WITHSCORES")], lambda: ["ZDIFF", *numkeys(), *m("WITHSCORES")],
        lambda: [c(["ZUNIONSTORE", "ZINTERSTORE"]), k(), *numkeys(), *aggregate()], lambda: ["ZDIFFSTORE", k(), *numkeys()],
        lambda: ["ZINTERCARD", *numkeys(), *m("LIMIT", i())], lambda: [c(["BZPOPMIN", "BZPOPMAX"]), *some(k), "0.001"],
        lambda: ["BZMPOP", c(["0.001", "-1", "x"]), *numkeys(), c(["MIN", "MAX"]), *m("COUNT", i())],
        lambda: ["ZRANDMEMBER", k(), c(["0", "1000", "x", "-9223372036854775808", "9223372036854775807", "4611686018427387904"]), *m("WITHSCORES")],
        # By lexical order.
        lambda: ["ZADD", lex_key(), *pairs(lambda: "0", w, 2, 6)], lambda: ["ZREM", lex_key(), *some(w)], lambda: ["ZLEXCOUNT", lex_key(), d.lex(), d.lex()],
        lambda: ["ZRANGE", lex_key(), d.lex(), d.lex(), "BYLEX", *m("REV"), *limit(), *m("WITHSCORES", chance=0.05)],
        lambda: [c(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), lex_key(), d.lex(), d.lex(), *limit()], lambda: ["ZREMRANGEBYLEX", lex_key(), d.lex(), d.lex()],
        lambda: ["ZRANGESTORE", k(), lex_key(), d.lex(), d.lex(), "BYLEX", *m("REV"), *limit()], lambda: c([["DEL", lex_key()], ["SET", lex_key(), w()]]),
        # Several at once.
        lambda: ["MULTI"], lambda: ["MULTI"], lambda: ["EXEC"], lambda: ["EXEC"], lambda: ["EXEC"], lambda: ["DISCARD"], lambda: ["WATCH", *some(k)], lambda: ["UNWATCH"],
        lambda: ["EVAL", c(SCRIPTS), "1", k(), *plain()], lambda: [c(["EVAL", "EVAL_RO"]), c(SCRIPTS), "1", k(), *plain()],
        lambda: ["EVAL", c(ODD_SCRIPTS), "1", k(), c([w, i, f, k])()], lambda: ["EVAL", c(ODD_SCRIPTS), "1", k(), c(["k0", "k1", "[1,2,{\"a\":null}]", "{\"x\":1.5}", "[", "true"])],
        lambda: ["EVAL", "return 1", c(["0", "-1", "x", "3", "1"]), *some(k, 0, 2)],
        lambda: ["HELLO", c(["2", "3", "4", "x"])] if d.random() < 0.1 else ["PING"],
        # Scripts that are kept, users, names, channels.
        lambda: ["SCRIPT", *c([["LOAD", KEPT], ["EXISTS", KEPT_SHA1, w()], ["FLUSH", *m(c(["SYNC", "ASYNC", "X"]))], ["LOAD", "return ("], ["X"]])],
        lambda: [c(["EVALSHA", "EVALSHA_RO"]), c([KEPT_SHA1, KEPT_SHA1.upper(), "x", ""]), "1", k(), *plain()], lambda: ["SCRIPT", "LOAD", KEPT],
        # Functions.
        lambda: ["FUNCTION", "LOAD", *m("REPLACE", chance=0.7), LIBRARY], lambda: ["FUNCTION", "LOAD", *m("REPLACE", chance=0.7), c(ODD_LIBRARIES)],
        lambda: [c(["FCALL", "FCALL", "FCALL_RO"]), c(CALLING), "1", k(), *plain()], lambda: [c(["FCALL", "FCALL_RO"]), "kept", "1", k(), *plain()],
        lambda: ["FCALL", c(["odd", "odd", "ODD", "odd2", "7", "counter", "nothere", ""]), c(["1", "1", "1", "0", "-1", "x", "3"]), k(), w()],
        lambda: ["FUNCTION", *c([["LIST"], ["LIST", "WITHCODE"], ["LIST", "LIBRARYNAME", c(["*", "l*", "LIB", "odd", "["])], ["LIST", "LIBRARYNAME"], ["LIST", w()], ["STATS"], ["KILL"],
                                 ["DELETE", c(["lib", "odd", "LIB", "odd2"])], ["FLUSH", *m(c(["SYNC", "ASYNC", "X"]))], ["LOAD"], ["LOAD", "X", "x"], ["RESTORE", w()], ["RESTORE", w(), "X"], ["X"]])],
        lambda: ["@FUNCTIONS", *m(c(["APPEND", "REPLACE", "FLUSH", "replace"]), chance=0.8)],
        lambda: ["COMMAND", c(["GETKEYS", "GETKEYSANDFLAGS"]), *known()], lambda: ["COMMAND", c(["GETKEYS", "GETKEYSANDFLAGS"]), *known()],
        lambda: ["ACL", "SETUSER", "u", *some(rule, 1, 4)], lambda: ["ACL", "DRYRUN", "u", *known()], lambda: ["ACL", "DRYRUN", "u", *plain()], lambda: ["ACL", "GETUSER", c(["u", "u", "nobody"])],
        lambda: ["ACL", *c([["DELUSER", "u"], ["WHOAMI"], ["USERS"], ["CAT", "x"], ["SETUSER", ""], ["DELUSER", "default"], ["GENPASS", "x"]])],
        lambda: ["CLIENT", *c([["SETNAME", w()], ["GETNAME"], ["GETNAME"], ["NO-EVICT", c(["on", "off", "x"])], ["REPLY", "x"], ["UNBLOCK", "99999", *m("ERROR")], ["KILL", "x"],
                               ["PAUSE", "x"], ["UNPAUSE"]])],
        lambda: ["PUBLISH", "p", w()], lambda: ["PUBSUB", *c([["CHANNELS"], ["NUMSUB", "c", "d"], ["NUMPAT"], ["SHARDCHANNELS"], ["SHARDNUMSUB", "c"], ["X"]])],
        lambda: [c(["SUBSCRIBE", "UNSUBSCRIBE", "UNSUBSCRIBE", "UNSUBSCRIBE"]), "c"] if d.random() < 0.5 else ["PING", w()], lambda: ["RESET"],
        # What nobody expects.
        lambda: [c(["HSET", "ZADD", "LPUSH", "SADD", "GET", "LINSERT", "BITFIELD", "ZRANGE", "MSET", "LMPOP", "ZUNION"]), *some(w, 0, 5)],
        lambda: ["@", *plain()],
    ]

    def change():
        """A command that is nearly right."""
        words = c(rows)()
        if words[0].upper() in UNCHANGED or (words[0] == "ZADD" and set(words[1:2]) <= set(LEX_KEYS)):
            return words
        for _ in range(d.randint(1, 2)):
            where = d.randrange(len(words)) + 1
            how = d.random()
            if how < 0.25:
                words[where:where + 1] = []
            elif how < 0.5:
                words.insert(where, c(OPTIONS + SMALL))
            elif how < 0.75 and where < len(words):
                words[where] = c([w, i, f, k, lambda: c(OPTIONS)])()
            elif how < 0.9:
                words[where:] = words[:0:-1][:1] + words[where:]
            else:
                words = [word.lower() for word in words]
        return words

    return rows + [change] * (len(rows) // 10)


def settle(words):
    """The same command without what Redis gets wrong and what then shows in replies to others: its BITFIELD takes the very
    lowest numbers for too high ones.
    """
    if words and words[0].upper() in ("BITFIELD", "@") and "-922337203685477580" in " ".join(words):
        return ["-4611686018427387904" if word.startswith("-922337203685477580") else word for word in words]
    return words


def look():
    """Commands that show what is there after a round."""
    for name in ALL_KEYS:
        yield from ([*words[:1], name, *words[1:]] for words in (
            ["TYPE"], ["TTL"], ["GET"], ["LRANGE", "0", "-1"], ["SMEMBERS"], ["HGETALL"], ["ZRANGE", "0", "-1", "WITHSCORES"]))
        yield ["OBJECT", "ENCODING", name]


def make(seed):
    d = Dice(seed)
    commands = grammar(d)
    return {"seed": seed, "resp": d.choice(["2", "3"]), "compact": d.choice(["128", "2"]),
            "commands": [settle(d.choice(commands)()) for _ in range(d.randint(5, 60))] + [["EXEC"], ["UNSUBSCRIBE", "c"], ["SELECT", "0"], *look()]}
