# What a Rails app keeps in Redis: Rails' own cache store, and the stores of redis-store for caches and sessions.
#
# Database 10 is emptied and used.

require "active_support"
require "active_support/core_ext"
require "action_controller"
require "action_dispatch"
require "active_support/cache/redis_cache_store"
require "connection_pool"
require "redis-activesupport"
require "redis/active_support/version"
require "rack/mock"
require "redis-actionpack"
require_relative "checks"

URL = "redis://#{ENV.fetch("SERVER")}/10"
plain = Redis.new(url: URL)
plain.flushdb

# ---- caches: the same promises, but for what only Rails' own has ----

# Errors are passed on, where an app would only go without its cache.
loud = ->(exception:, **) { raise exception }
caches = {
  "ActiveSupport #{ActiveSupport.version} RedisCacheStore" =>
    ActiveSupport::Cache::RedisCacheStore.new(url: URL, namespace: "own", expires_in: 100, error_handler: loud, pool_size: 5),
  "redis-activesupport #{Redis::ActiveSupport::VERSION}" =>
    ActiveSupport::Cache::RedisStore.new("#{URL}/store", expires_in: 100, raise_errors: true, pool_size: 5),
}

caches.each do |name, cache|
  checks = Checks.new(name)

  checks.check("a value of any kind is kept, with its TTL") do
    basket = { items: [1, 2, 3], total: 9.5, at: Time.at(0) }
    cache.write("basket", basket)
    equal(cache.read("basket"), basket)
    key = plain.keys("*basket").first
    holds("the TTL of the store: #{plain.ttl(key)}") { (90..400).cover?(plain.ttl(key)) }
    cache.write("large", "x" * 100_000)
    equal(cache.read("large").size, 100_000)
    equal([cache.exist?("basket"), cache.exist?("nothing")], [true, false])
  end

  checks.check("fetch asks once, and keeps nothing's absence if told") do
    asked = 0
    3.times { equal(cache.fetch("asked", expires_in: 60) { asked += 1 }, 1) }
    equal(cache.fetch("asked", force: true) { asked += 1 }, 2)
    equal(cache.fetch("void") { nil }, nil)
    equal(cache.exist?("void"), true)
  end

  checks.check("a value expires") do
    cache.write("short", "x", expires_in: 1)
    equal(cache.read("short"), "x")
    eventually("it to be gone") { cache.read("short").nil? }
  end

  checks.check("many are written, read and fetched at once") do
    cache.write_multi({ "m1" => 1, "m2" => 2 }, expires_in: 60)
    equal(cache.read_multi("m1", "m2", "m3"), { "m1" => 1, "m2" => 2 })
    equal(cache.fetch_multi("m1", "m3") { |key| key * 2 }, { "m1" => 1, "m3" => "m3m3" })
    equal(cache.read("m3"), "m3m3")
  end

  checks.check("counters count") do
    cache.write("visits", 10, raw: true)
    equal([cache.increment("visits"), cache.increment("visits", 4), cache.decrement("visits", 5)], [11, 15, 10])
  end

  checks.check("keys of a pattern are deleted, others stay") do
    250.times { |at| cache.write("views/#{at}", at) }
    cache.delete_matched("views/*")
    equal([plain.keys("*views*"), cache.exist?("basket")], [[], true])
    cache.delete("basket")
    equal(cache.read("basket"), nil)
  end

  checks.check("threads share the pool") do
    cache.write("together", 0, raw: true)
    8.times.map { Thread.new { 25.times { cache.increment("together") } } }.each(&:join)
    equal(cache.read("together", raw: true).to_i, 200)
  end

  checks.check("clearing leaves nothing of its own") do
    cache.clear
    equal(plain.keys("*").size, 0)
  end
end

# ---- sessions ----

# An app that counts the visits of a session; /out ends it, /in begins another.
app = lambda do |env|
  session = env["rack.session"]
  request = Rack::Request.new(env)
  session.options[:renew] = true if request.path == "/in"
  session.options[:drop] = true if request.path == "/out"
  session["visits"] = session["visits"].to_i + 1 unless request.path == "/out"
  [200, { "Content-Type" => "text/plain" }, [session["visits"].to_s]]
end

options = { redis_server: "#{URL}/sessions", expire_after: 60, threadsafe: true }
doors = {
  "redis-rack #{Redis::Rack::VERSION}" => Rack::Session::Redis.new(app, options),
  "redis-actionpack #{Redis::ActionPack::VERSION}" =>
    ActionDispatch::Cookies.new(ActionDispatch::Session::RedisStore.new(app, options.merge(key: "_shop", signed: false))),
}

doors.each do |name, door|
  checks = Checks.new(name)
  visit = lambda do |path, cookie = nil|
    response = Rack::MockRequest.new(door).get(path, "HTTP_COOKIE" => cookie.to_s)
    raise response.errors unless response.ok?
    [response.body, response["Set-Cookie"]&.split(";")&.first]
  end

  checks.check("a session is kept between requests, for its time") do
    body, cookie = visit.call("/")
    equal(body, "1")
    equal([visit.call("/", cookie)[0], visit.call("/", cookie)[0]], %w[2 3])
    equal(visit.call("/")[0], "1")
    keys = plain.keys("sessions:*")
    equal(keys.size, 2)
    holds("each lives for a minute") { keys.all? { |key| (50..60).cover?(plain.ttl(key)) } }
    holds("the cookie's id is no key") { keys.none? { |key| cookie.include?(key.delete_prefix("sessions:")) } }
  end

  checks.check("after a sign-in it has another id, and the old one is worth nothing") do
    _, old = visit.call("/")
    body, fresh = visit.call("/in", old)
    equal(body, "2")
    holds("another id") { fresh && fresh != old }
    equal([visit.call("/", fresh)[0], visit.call("/", old)[0]], %w[3 1])
  end

  checks.check("one that is ended is gone") do
    _, cookie = visit.call("/")
    visit.call("/", cookie)
    visit.call("/out", cookie)
    equal(visit.call("/", cookie)[0], "1")
  end

  checks.check("one that expires is gone") do
    _, cookie = visit.call("/")
    plain.keys("sessions:*").each { |key| plain.pexpire(key, 50) }
    eventually("they to be gone") { plain.dbsize.zero? }
    equal(visit.call("/", cookie)[0], "1")
    plain.flushdb
  end
end

Checks.finish
