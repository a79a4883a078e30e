// @upstash/redis and @upstash/ratelimit, unchanged, against the REST door. All keys are in database 0 under one prefix.

import assert from "node:assert/strict";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { Checks, eventually, finish } from "./checks.mjs";

const { REST_URL: url, REST_TOKEN: token, REST_READONLY_TOKEN: readonly } = process.env;
if (!url || !token || !readonly) throw new Error("REST_URL, REST_TOKEN and REST_READONLY_TOKEN must be set");
/** No second attempt: what fails once is to be seen. */
const quick = { url, token, retry: false, enableTelemetry: false };
const P = `upstash:${process.pid}:`;

const redis = new Redis(quick);
const all = [];

for (const [name, client] of [["base64", redis], ["plain", new Redis({ ...quick, responseEncoding: false })]]) {
  const checks = new Checks(`@upstash/redis (${name})`);
  all.push(checks);
  const k = (key) => `${P}${name}:${key}`;

  await checks.check("texts, numbers and objects come back as what they were", async () => {
    assert.equal(await client.ping(), "PONG");
    for (const [key, value] of [
      ["text", "hello"], ["number", 42], ["float", 1.5], ["yes", true], ["object", { a: [1, { b: null }], c: "é😀\n\"" }],
      ["list", ["a", 1]], ["ok", "OK"], ["empty", ""], ["utf8", "żółć 中文 🚀"], ["controls", "\u0000\u0001\r\n\t\\"],
    ]) {
      assert.equal(await client.set(k(key), value), "OK", key);
      assert.deepEqual(await client.get(k(key)), value, key);
    }
    assert.equal(await client.get(k("none")), null);
  });
  await checks.check("options, counters and times", async () => {
    assert.equal(await client.set(k("opt"), "v", { ex: 100, nx: true }), "OK");
    assert.equal(await client.set(k("opt"), "w", { nx: true }), null);
    assert.equal(await client.set(k("opt"), "w", { get: true, keepTtl: true }), "v");
    assert.ok([99, 100].includes(await client.ttl(k("opt"))));
    assert.equal(await client.incrby(k("n"), 41), 41);
    assert.equal(await client.incr(k("n")), 42);
    assert.equal(Number(await client.incrbyfloat(k("n"), 0.5)), 42.5);
    assert.deepEqual(await client.mget(k("opt"), k("none"), k("n")), ["w", null, 42.5]);
    assert.equal(await client.mset({ [k("m1")]: { a: 1 }, [k("m2")]: "x" }), "OK");
    assert.equal(await client.append(k("m2"), "yz"), 3);
    assert.equal(await client.exists(k("m1"), k("m2"), k("none")), 2);
    assert.equal(await client.type(k("m1")), "string");
    assert.equal(await client.del(k("m1"), k("m2")), 2);
  });
  await checks.check("hashes", async () => {
    assert.equal(await client.hset(k("h"), { name: "alice", age: 7, tags: ["a"] }), 3);
    assert.deepEqual(await client.hgetall(k("h")), { name: "alice", age: 7, tags: ["a"] });
    assert.equal(await client.hget(k("h"), "name"), "alice");
    assert.deepEqual(await client.hmget(k("h"), "age", "none"), { age: 7, none: null });
    assert.equal(await client.hincrby(k("h"), "age", 3), 10);
    assert.equal(await client.hgetall(k("none")), null);
    const [cursor, flat] = await client.hscan(k("h"), 0);
    assert.deepEqual([Number(cursor), flat.length], [0, 6]);
  });
  await checks.check("lists, sets and sorted sets", async () => {
    assert.equal(await client.rpush(k("l"), "a", { b: 1 }, 3), 3);
    assert.deepEqual(await client.lrange(k("l"), 0, -1), ["a", { b: 1 }, 3]);
    assert.equal(await client.lpop(k("l")), "a");
    assert.deepEqual(await client.lpop(k("l"), 5), [{ b: 1 }, 3]);
    assert.equal(await client.lpop(k("l")), null);
    assert.equal(await client.sadd(k("s"), "x", "y", "x"), 2);
    assert.deepEqual((await client.smembers(k("s"))).sort(), ["x", "y"]);
    assert.deepEqual(await client.smismember(k("s"), ["x", "z"]), [1, 0]);
    assert.equal(await client.zadd(k("z"), { score: 1, member: "one" }, { score: 2.5, member: "two" }), 2);
    assert.deepEqual(await client.zrange(k("z"), 0, -1, { withScores: true }), ["one", 1, "two", 2.5]);
    assert.equal(await client.zscore(k("z"), "two"), 2.5);
    assert.equal(await client.zrank(k("z"), "two"), 1);
    assert.equal(await client.zscore(k("z"), "none"), null);
    assert.equal(await client.zincrby(k("z"), 1, "one"), 2);
  });
  await checks.check("a pipeline is one request whose answers keep their order", async () => {
    const pipe = client.pipeline();
    pipe.set(k("p"), { n: 1 });
    pipe.get(k("p"));
    pipe.incr(k("pn"));
    pipe.lrange(k("none"), 0, -1);
    assert.deepEqual(await pipe.exec(), ["OK", { n: 1 }, 1, []]);
    const broken = client.pipeline().set(k("p"), "text").incr(k("p")).get(k("p"));
    await assert.rejects(broken.exec(), /ERR value is not an integer/);
    const kept = await client.pipeline().incr(k("p")).get(k("p")).exec({ keepErrors: true });
    assert.match(kept[0].error, /ERR value is not an integer/);
    assert.equal(kept[1].result, "text");
  });
  await checks.check("a transaction is whole, or nothing when one command is wrong", async () => {
    const done = await client.multi().set(k("t"), 1).incrby(k("t"), 9).get(k("t")).exec();
    assert.deepEqual(done, ["OK", 10, 10]);
    const wrong = client.multi().set(k("t"), 2);
    wrong.mget();
    await assert.rejects(wrong.exec(), /EXECABORT.*wrong number of arguments/);
    assert.equal(await client.get(k("t")), 10);
  });
  await checks.check("SCAN walks over all keys", async () => {
    await client.mset(Object.fromEntries(Array.from({ length: 200 }, (_, at) => [k(`scan:${at}`), at])));
    const seen = new Set();
    let cursor = "0";
    do {
      const [next, keys] = await client.scan(cursor, { match: k("scan:*"), count: 50 });
      keys.forEach((key) => seen.add(key));
      cursor = next;
    } while (cursor !== "0");
    assert.equal(seen.size, 200);
    assert.equal((await client.keys(k("scan:*"))).length, 200);
    assert.equal(await client.dbsize() >= 200, true);
  });
  await checks.check("scripts, by text and by digest", async () => {
    const script = "return {KEYS[1], ARGV[1], 7, {ok = 'FINE'}, redis.call('GET', KEYS[1])}";
    await client.set(k("e"), "v");
    const [key, first, seven, , got] = await client.eval(script, [k("e")], ["x"]);
    assert.deepEqual([key, first, seven, got], [k("e"), "x", 7, "v"]);
    const sha = await client.scriptLoad("return ARGV[1] * 2");
    assert.equal(await client.evalsha(sha, [], [21]), 42);
    await assert.rejects(client.evalsha("f".repeat(40), [], []), /NOSCRIPT/);
    assert.equal(await client.createScript("return 'made ' .. ARGV[1]").exec([], ["here"]), "made here");
    await assert.rejects(client.eval("return redis.call('INCR', KEYS[1])", [k("e")], []), /not an integer/);
  });
  await checks.check("errors are Redis' own", async () => {
    await assert.rejects(client.hget(k("text"), "f"), /WRONGTYPE/);
    await assert.rejects(client.exec(["NOSUCH", "a"]), /ERR unknown command 'NOSUCH'/);
    await assert.rejects(client.exec(["SUBSCRIBE", "a"]), /needs a connection/);
    assert.equal(await client.exec(["BLPOP", k("none"), 0]), null);
  });
}

const own = new Checks("@upstash/redis");
await own.check("what is no text survives in base64", async () => {
  const client = new Redis({ ...quick, automaticDeserialization: false });
  await client.set(`${P}bits`, "");
  await client.setbit(`${P}bits`, 0, 1);
  const answer = await fetch(`${url}/get/${encodeURIComponent(`${P}bits`)}`, {
    headers: { authorization: `Bearer ${token}`, "upstash-encoding": "base64" },
  });
  assert.deepEqual(await answer.json(), { result: "gA==" });
});
await own.check("commands that are begun together are one pipeline", async () => {
  const client = new Redis({ ...quick, enableAutoPipelining: true });
  const many = await Promise.all(Array.from({ length: 50 }, (_, at) => client.set(`${P}auto:${at}`, at)));
  assert.ok(many.every((said) => said === "OK"));
  assert.equal(await client.get(`${P}auto:49`), 49);
});
await own.check("another token is refused", async () => {
  const client = new Redis({ ...quick, token: "another" });
  await assert.rejects(client.get("a"), /WRONGPASS invalid or missing auth token/);
});
await own.check("a token that only reads is refused what changes anything", async () => {
  const client = new Redis({ ...quick, token: readonly });
  await redis.set(`${P}shown`, { a: 1 });
  assert.deepEqual(await client.get(`${P}shown`), { a: 1 });
  assert.deepEqual(await client.pipeline().get(`${P}shown`).exists(`${P}none`).exec(), [{ a: 1 }, 0]);
  await assert.rejects(client.set(`${P}shown`, 2), /NOPERM this user has no permissions to run the 'set' command or its subcommand/);
  await assert.rejects(client.keys("*"), /NOPERM/);
  await assert.rejects(client.eval("return 1", [], []), /NOPERM/);
  assert.deepEqual(await redis.get(`${P}shown`), { a: 1 });
});
await own.check("subscribers hear what is published, until they go", async () => {
  const [news, chat, pattern] = [`${P}news`, `${P}chat`, `${P}n*`];
  const heard = [];
  const subscriber = redis.subscribe([news, chat]);
  const patterns = redis.psubscribe([pattern]);
  let begun = 0;
  for (const [listener, began] of [[subscriber, "subscribe"], [patterns, "psubscribe"]]) {
    listener.on("error", (error) => heard.push(["error", String(error)]));
    listener.on(began, () => (begun += 1));
  }
  subscriber.on("message", ({ channel, message }) => heard.push([channel, message]));
  subscriber.on(`message:${news}`, ({ message }) => heard.push(["news alone", message]));
  patterns.on("pmessage", ({ pattern, channel, message }) => heard.push([pattern, channel, message]));
  await eventually("all have subscribed", () => begun === 3);
  assert.equal(await redis.publish(news, { a: [1, "x, y"] }), 2);
  assert.equal(await redis.publish(chat, "plain, text"), 1);
  await eventually("all is heard", () => heard.length === 4);
  const in_order = (wanted) => heard.filter(([first]) => first === wanted);
  assert.deepEqual(in_order(news), [[news, { a: [1, "x, y"] }]]);
  assert.deepEqual(in_order("news alone"), [["news alone", { a: [1, "x, y"] }]]);
  assert.deepEqual(in_order(chat), [[chat, "plain, text"]]);
  assert.deepEqual(in_order(pattern), [[pattern, news, { a: [1, "x, y"] }]]);
  assert.equal((await redis.exec(["CLIENT", "LIST", "TYPE", "pubsub"])).match(/lib-name=rest/g).length, 3);
  await subscriber.unsubscribe([chat]);
  await eventually("one has gone", async () => (await redis.publish(chat, "to nobody")) === 0);
  assert.equal(await redis.publish(news, 7), 2);
  await eventually("that is heard", () => in_order(news).length === 2);
  await Promise.all([subscriber.unsubscribe(), patterns.unsubscribe()]);
  await eventually("all have gone", async () => (await redis.publish(news, 7)) === 0);
});
await own.check("a large value, and many at once", async () => {
  const large = "é".repeat(1_000_000);
  await redis.set(`${P}large`, large, { ex: 60 });
  assert.equal(await redis.get(`${P}large`), large);
  const many = await Promise.all(Array.from({ length: 100 }, (_, at) => redis.incrby(`${P}sum`, at).then(() => at)));
  assert.equal(many.length, 100);
  assert.equal(await redis.get(`${P}sum`), 4950);
});

const limits = new Checks("@upstash/ratelimit");
for (const [name, limiter] of [
  ["fixedWindow", Ratelimit.fixedWindow(5, "10 s")],
  ["slidingWindow", Ratelimit.slidingWindow(5, "10 s")],
  ["tokenBucket", Ratelimit.tokenBucket(5, "10 s", 5)],
]) {
  const limit = new Ratelimit({ redis, limiter, prefix: `${P}${name}`, ephemeralCache: false, analytics: false });
  await limits.check(`${name}: five are let in and no more, for each by himself`, async () => {
    if (name !== "tokenBucket") {
      // Windows begin on the clock: all must fall into one.
      await eventually("a window is young", () => Date.now() % 10_000 < 6_000, 6_000);
    }
    const asked = [];
    for (let at = 0; at < 7; at += 1) asked.push(await limit.limit("alice"));
    assert.deepEqual(asked.map(({ success }) => success), [true, true, true, true, true, false, false]);
    assert.deepEqual(asked.slice(0, 5).map(({ remaining }) => remaining), [4, 3, 2, 1, 0]);
    assert.equal(asked[0].limit, 5);
    assert.ok(asked[6].reset > Date.now());
    assert.equal((await limit.limit("bob")).remaining, 4);
    assert.equal((await limit.getRemaining("alice")).remaining, 0);
    await limit.resetUsedTokens("alice");
    assert.equal((await limit.limit("alice")).success, true);
  });
}
await limits.check("twenty at once: exactly five are let in", async () => {
  const limit = new Ratelimit({ redis, limiter: Ratelimit.tokenBucket(5, "60 s", 5), prefix: `${P}crowd`, ephemeralCache: false });
  const crowd = await Promise.all(Array.from({ length: 20 }, () => limit.limit("all")));
  assert.equal(crowd.filter(({ success }) => success).length, 5);
});
await limits.check("a short window ends, and scripts that were forgotten are sent again", async () => {
  const limit = new Ratelimit({ redis, limiter: Ratelimit.fixedWindow(1, "1 s"), prefix: `${P}short`, ephemeralCache: false });
  await eventually("somebody is let in", async () => (await limit.limit("carol")).success);
  await redis.scriptFlush();
  await eventually("the next window", async () => (await limit.limit("carol")).success);
  });

finish(...all, own, limits);
