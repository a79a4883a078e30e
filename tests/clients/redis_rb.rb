# redis-rb 4.8 (the client below Rails 6 and 7, Sidekiq 6 and Resque) against a server.
#
# Database 9 is emptied and used.

require "redis"
require "securerandom"
require_relative "checks"

SERVER = address("SERVER")
LOCKED = address("AUTH_SERVER")
PASSWORD = ENV.fetch("AUTH_PASSWORD")

def client(**more)
  Redis.new(**SERVER, db: 9, timeout: 5, reconnect_attempts: 0, **more)
end

checks = Checks.new("redis-rb #{Redis::VERSION}")
r = client(id: "first")

checks.check("connects, selects its database and is named") do
  equal(r.ping, "PONG")
  equal(r.flushdb, "OK")
  equal(r.dbsize, 0)
  me = r.call([:client, :id])
  row = r.client(:list).find { |each| each["id"] == me.to_s }
  equal([row["name"], row["db"]], ["first", "9"])
end

checks.check("values are bytes, and live as long as their TTL says") do
  binary = "\x00\r\n\xFF$1\r\n".b
  equal(r.set(binary, binary), "OK")
  equal(r.get(binary).b, binary)
  equal(r.set("short", "lived", px: 60_000), "OK")
  holds("a TTL of a minute") { (1..60_000).cover?(r.pttl("short")) }
  equal(r.set("short", "lived", px: 100), "OK")
  eventually("it to die") { r.get("short").nil? }
  equal(r.ttl("short"), -2)
  equal([r.setex("a", 100, "v"), r.psetex("b", 100_000, "v"), r.set("c", "v", ex: 100)], %w[OK OK OK])
  %w[a b c].each { |key| holds("100 s for #{key}") { (95..100).cover?(r.ttl(key)) } }
  equal(r.getex("a", persist: true), "v")
  equal(r.ttl("a"), -1)
  equal([r.expire("a", 50), r.persist("a"), r.expireat("a", Time.now.to_i - 1), r.exists("a")], [true, true, true, 0])
end

checks.check("SET's conditions answer true, false or what was there") do
  equal(r.set("opt", "1", nx: true), true)
  equal(r.set("opt", "2", nx: true), false)
  equal(r.set("opt", "2", xx: true, get: true), "1")
  equal(r.set("opt", "3", ex: 50), "OK")
  equal(r.set("opt", "4", keepttl: true), "OK")
  holds("the TTL is kept") { r.ttl("opt") > 45 }
  equal([r.getset("opt", "5"), r.getdel("opt"), r.get("opt")], ["4", "5", nil])
end

checks.check("numbers come back as numbers, many as arrays and hashes") do
  equal([r.incr("n"), r.incrby("n", 41), r.decr("n"), r.incrbyfloat("n", 0.5)], [1, 42, 41, 41.5])
  equal(r.mset("x", 1, "y", 2), "OK")
  equal(r.mapped_mget("x", "nothing", "y"), { "x" => "1", "nothing" => nil, "y" => "2" })
  equal(r.exists?("x"), true)
  equal(r.del("x", "y", "nothing"), 2)
end

checks.check("a pipeline answers in order; futures are filled behind it") do
  future = nil
  replies = r.pipelined do |pipe|
    500.times { |at| pipe.setex("p:#{at}", 60, at) }
    future = pipe.incr("hits")
    refused(Redis::FutureNotReady) { future.value }
    500.times { |at| pipe.get("p:#{at}") }
  end
  equal(replies.size, 1001)
  equal(replies.last(500), (0...500).map(&:to_s))
  equal(future.value, 1)
end

checks.check("an error inside a pipeline is raised, and all others are done") do
  r.set("text", "abc")
  refused(Redis::CommandError, "ERR value is not an integer or out of range") do
    r.pipelined do |pipe|
      pipe.set("before", 1)
      pipe.incr("text")
      pipe.set("after", 1)
    end
  end
  equal(r.mget("before", "after"), %w[1 1])
end

checks.check("MULTI does all, or nothing where a watched key has changed") do
  equal(r.multi { |all| all.set("m", 1); all.incr("m"); all.get("m") }, ["OK", 2, "2"])
  other = client
  done = r.watch("m") do
    other.set("m", "changed")
    r.multi { |all| all.set("m", "mine") }
  end
  equal(done, nil)
  equal(r.get("m"), "changed")
  done = r.watch("m") { |held| held.multi { |all| all.set("m", "mine") } }
  equal(done, ["OK"])
  refused(Redis::CommandError, "WRONGTYPE Operation against a key holding the wrong kind of value") do
    r.multi { |all| all.lpush("m", 1); all.set("m2", 1) }
  end
  equal(r.get("m2"), "1")
  other.close
end

checks.check("scripts run by text and by hash, and their errors are told") do
  script = "redis.call('SET', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), #ARGV, false, 3.9}"
  equal(r.eval(script, keys: ["s"], argv: %w[one two]), ["one", 2, nil, 3])
  hash = r.script(:load, script)
  equal(r.script(:exists, [hash, "0" * 40]), [true, false])
  equal(r.evalsha(hash, ["s"], ["three"]), ["three", 1, nil, 3])
  refused(Redis::CommandError, "NOSCRIPT No matching script. Please use EVAL.") { r.evalsha("0" * 40) }
  refused(Redis::CommandError, "MY own words") { r.eval("return redis.error_reply('MY own words')") }
end

checks.check("hashes, lists, sets and sorted sets are what Ruby has for them") do
  equal(r.hset("h", { "name" => "Ada", "visits" => 1 }), 2)
  equal(r.hgetall("h"), { "name" => "Ada", "visits" => "1" })
  equal([r.hincrby("h", "visits", 4), r.mapped_hmget("h", "name", "no"), r.hdel("h", "name"), r.hexists("h", "name")],
        [5, { "name" => "Ada", "no" => nil }, 1, false])
  equal([r.rpush("l", %w[a b c]), r.lmove("l", "l2", "LEFT", "RIGHT"), r.lrange("l", 0, -1)], [3, "a", %w[b c]])
  equal([r.sadd("t", %w[1 2 3]), r.sismember("t", "2"), r.smembers("t").sort, r.srem("t", "2")], [3, true, %w[1 2 3], true])
  r.sadd("u", %w[3 4])
  equal([r.sinter("t", "u"), r.sunion("t", "u").sort, r.sdiff("t", "u")], [["3"], %w[1 3 4], ["1"]])
  equal(r.zadd("z", [[1, "one"], [2.5, "two"], [Float::INFINITY, "last"]]), 3)
  equal(r.zrange("z", 0, -1, with_scores: true), [["one", 1.0], ["two", 2.5], ["last", Float::INFINITY]])
  equal(r.zrangebyscore("z", "(1", "+inf", limit: [0, 1]), ["two"])
  equal([r.zscore("z", "two"), r.zrank("z", "no"), r.zincrby("z", 2, "one"), r.zpopmin("z")], [2.5, nil, 3.0, ["two", 2.5]])
end

checks.check("each scan finds all that stays") do
  r.mset(*(0...1000).flat_map { |at| ["scan:#{at}", at] })
  equal(r.scan_each(match: "scan:*", count: 70).to_a.uniq.size, 1000)
  r.hset("scanned", (0...700).to_h { |at| ["f#{at}", at.to_s] })
  equal(r.hscan_each("scanned", match: "f1*").to_h.size, 111)
  r.sadd("scanned2", (0...700).to_a)
  equal(r.sscan_each("scanned2").to_a.uniq.size, 700)
  r.zadd("scanned3", (0...700).map { |at| [at, "m#{at}"] })
  equal(r.zscan_each("scanned3").to_a.uniq.sort_by(&:last).last, ["m699", 699.0])
  equal(r.unlink(*r.keys("scan*")), 1003)
end

checks.check("a blocking pop waits for what another client pushes, or for its time") do
  equal(r.blpop("jobs", timeout: 0.1), nil)
  waiting = Thread.new { client.brpop("none", "jobs", timeout: 5) }
  eventually("it to wait") { r.client(:list).any? { |each| each["cmd"] == "brpop" } }
  r.lpush("jobs", "work")
  equal(waiting.value, %w[jobs work])
  waiting = Thread.new { client.bzpopmin("waits", timeout: 5) }
  eventually("it to wait") { r.client(:list).any? { |each| each["cmd"] == "bzpopmin" } }
  r.zadd("waits", 1.5, "first")
  equal(waiting.value, ["waits", "first", 1.5])
  r.rpush("from", "moved")
  equal([r.blmove("from", "to", "LEFT", "RIGHT", timeout: 1), r.brpoplpush("none", "to", timeout: 0.1)], ["moved", nil])
end

checks.check("subscribers get what is published, by name and by pattern") do
  heard = Queue.new
  listening = Thread.new do
    client.psubscribe("news.*", "other") do |on|
      on.psubscribe { |pattern, count| heard << [:subscribed, pattern, count] }
      on.pmessage { |pattern, channel, message| heard << [pattern, channel, message] }
    end
  end
  equal([heard.pop, heard.pop], [[:subscribed, "news.*", 1], [:subscribed, "other", 2]])
  equal([r.publish("news.today", "rain"), r.publish("elsewhere", "x")], [1, 0])
  equal(heard.pop, ["news.*", "news.today", "rain"])
  listening.kill.join
  plain = client
  got = []
  plain.subscribe("room") do |on|
    on.subscribe { Thread.new { 3.times { |at| client.publish("room", at) } } }
    on.message do |_, message|
      got << message
      plain.unsubscribe if got.size == 3
    end
  end
  equal(got, %w[0 1 2])
  equal(plain.ping, "PONG")
end

checks.check("each kind of failure has its own class") do
  refused(Redis::CommandError, "ERR unknown command 'NOSUCH', with args beginning with: 'a'") { r.call(%w[NOSUCH a]) }
  refused(Redis::CommandError, "ERR wrong number of arguments for 'get' command") { r.call(["GET"]) }
  refused(Redis::CannotConnectError) { Redis.new(host: "127.0.0.1", port: 1, reconnect_attempts: 0).ping }
  refused(Redis::CommandError, "NOAUTH Authentication required.") { Redis.new(**LOCKED, reconnect_attempts: 0).get("x") }
  refused(Redis::CommandError, "WRONGPASS invalid username-password pair or user is disabled.") do
    Redis.new(**LOCKED, password: "wrong", reconnect_attempts: 0).ping
  end
  equal(Redis.new(**LOCKED, password: PASSWORD).ping, "PONG")
  equal(Redis.new(**LOCKED, username: "default", password: PASSWORD).ping, "PONG")
  hasty = Redis.new(**SERVER, db: 9, read_timeout: 0.1, reconnect_attempts: 0)
  refused(Redis::TimeoutError) { hasty.call([:blpop, "nobody", 1]) }
  victim = client
  id = victim.call([:client, :id])
  equal(r.client(:kill, "ID", id), 1)
  refused(Redis::ConnectionError) { victim.get("x") }
  equal(victim.get("x"), nil)
end

checks.check("threads share a client") do
  threads = 8.times.map { |at| Thread.new { 50.times { |n| r.set("t:#{at}", n); r.incr("together") } } }
  threads.each(&:join)
  equal(r.get("together"), "400")
end

r.flushdb
Checks.finish
