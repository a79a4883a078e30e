// Libraries that keep caches, count requests, take locks and sign people in, each doing its real work.
//
// They send MULTI, scripts (EVALSHA, and again after NOSCRIPT), SCAN with MATCH, sets and many TTLs. All keys are in
// database 11, which is emptied first.

import assert from "node:assert/strict";
import { once } from "node:events";
import { redisStorage } from "@better-auth/redis-storage";
import { createKeyv } from "@keyv/redis";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { createCache } from "cache-manager";
import express from "express";
import { rateLimit } from "express-rate-limit";
import Redis from "ioredis5";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { RedisStore } from "rate-limit-redis";
import { createClient } from "redis";
import Redlock from "redlock";
import { Checks, address, eventually, finish, sleep } from "./checks.mjs";

const server = address("SERVER");
const DATABASE = 11;
const url = `redis://${server.host}:${server.port}/${DATABASE}`;

const ioredis = new Redis({ ...server, db: DATABASE });
const nodeRedis = createClient({ url });
nodeRedis.on("error", () => {});
await nodeRedis.connect();
await ioredis.flushdb();

// ---- cache-manager on Keyv ----

const caches = new Checks("cache-manager on @keyv/redis");
const keyv = createKeyv(url, { namespace: "pages" });
const cache = createCache({ stores: [keyv], ttl: 60_000 });

await caches.check("a value is kept, found and deleted", async () => {
  await cache.set("home", { title: "Home", visits: 3 });
  assert.deepEqual(await cache.get("home"), { title: "Home", visits: 3 });
  assert.ok((await ioredis.pttl("pages::home")) > 50_000, "with its TTL");
  await cache.del("home");
  assert.equal(await cache.get("home"), undefined);
});
await caches.check("many are set, read and deleted at once", async () => {
  const many = Array.from({ length: 50 }, (_, at) => ({ key: `page:${at}`, value: at, ttl: 30_000 }));
  await cache.mset(many);
  assert.deepEqual(await cache.mget(many.map(({ key }) => key)), many.map(({ value }) => value));
  await cache.mdel(many.map(({ key }) => key));
  assert.equal(await ioredis.dbsize(), 0);
});
await caches.check("a value is made once while it is fresh", async () => {
  let made = 0;
  const make = async () => (made += 1);
  assert.equal(await cache.wrap("made", make, 400), 1);
  assert.equal(await cache.wrap("made", make, 400), 1);
  await eventually("it is made again", async () => (await cache.wrap("made", make, 400)) === 2);
});
await caches.check("clearing takes this namespace and nothing else", async () => {
  await ioredis.set("other", "stays");
  await cache.set("one", 1);
  await cache.clear();
  assert.equal(await cache.get("one"), undefined);
  assert.equal(await ioredis.get("other"), "stays");
});

// ---- rate limits ----

const limits = new Checks("rate-limit-redis under express-rate-limit");
const app = express();
const store = new RedisStore({ sendCommand: (...words) => nodeRedis.sendCommand(words), prefix: "limit:" });
app.use(rateLimit({ windowMs: 1_000, limit: 3, store, standardHeaders: "draft-8", legacyHeaders: false, validate: false }));
app.get("/", (_, response) => response.send("in"));
const listening = app.listen(0, "127.0.0.1");
await once(listening, "listening");
const ask = async () => (await fetch(`http://127.0.0.1:${listening.address().port}/`)).status;

await limits.check("the fourth request in a window is refused, and one in the next is not", async () => {
  assert.deepEqual([await ask(), await ask(), await ask(), await ask()], [200, 200, 200, 429]);
  await eventually("the window ends", async () => (await ask()) === 200);
});
await limits.check("it goes on after the scripts were forgotten", async () => {
  await ioredis.script("FLUSH");
  await ioredis.del(...(await ioredis.keys("limit:*")), "no such key");
  assert.equal(await ask(), 200);
});

const flexible = new Checks("rate-limiter-flexible");
for (const [name, storeClient, extra] of [["ioredis", ioredis, {}], ["node-redis", nodeRedis, { useRedisPackage: true }]]) {
  const limiter = new RateLimiterRedis({ storeClient, points: 5, duration: 3, keyPrefix: `flex-${name}`, ...extra });
  await flexible.check(`points are used up, given back and refilled (${name})`, async () => {
    const first = await limiter.consume("alice", 3);
    assert.equal(first.remainingPoints, 2);
    await assert.rejects(limiter.consume("alice", 3), (refusal) => refusal.msBeforeNext > 0 && refusal.msBeforeNext <= 3_000);
    assert.equal((await limiter.consume("bob")).remainingPoints, 4, "others have their own");
    await limiter.delete("alice");
    assert.equal((await limiter.consume("alice")).remainingPoints, 4);
    await sleep(3_050);
    assert.equal((await limiter.consume("alice")).remainingPoints, 4);
  });
  await flexible.check(`a key can be blocked (${name})`, async () => {
    await limiter.block("mallory", 10);
    await assert.rejects(limiter.consume("mallory"));
    assert.ok((await limiter.get("mallory")).consumedPoints > 5);
  });
}

// ---- locks ----

const locks = new Checks("redlock");
const redlock = new Redlock([ioredis], { retryCount: 0 });
redlock.on("clientError", () => {});

await locks.check("one holder at a time; who let go or ran out makes room", async () => {
  const lock = await redlock.lock("locks:job", 10_000);
  await assert.rejects(redlock.lock("locks:job", 10_000));
  const longer = await lock.extend(20_000);
  assert.ok((await ioredis.pttl("locks:job")) > 10_000);
  await longer.unlock();
  // One that is had later than it lasts counts as none.
  const short = await redlock.lock("locks:job", 500);
  await sleep(550);
  const next = await redlock.lock("locks:job", 10_000);
  await assert.rejects(short.unlock(), "a lock that ran out is no longer its own");
  await next.unlock();
  assert.equal(await ioredis.exists("locks:job"), 0);
});
await locks.check("twenty at once: each is alone", async () => {
  const patient = new Redlock([ioredis], { retryCount: 200, retryDelay: 10, retryJitter: 10 });
  let inside = 0;
  const work = async () => {
    const lock = await patient.lock("locks:shared", 10_000);
    inside += 1;
    assert.equal(inside, 1);
    await sleep(2);
    inside -= 1;
    await lock.unlock();
  };
  await Promise.all(Array.from({ length: 20 }, work));
});

// ---- better-auth ----

const signIn = new Checks("better-auth's secondary storage");
const rows = { user: [], session: [], account: [], verification: [], rateLimit: [] };
const auth = betterAuth({
  baseURL: "http://localhost:3000",
  secret: "a secret that is only for this test, and long enough",
  database: memoryAdapter(rows),
  secondaryStorage: redisStorage({ client: ioredis, keyPrefix: "auth:" }),
  emailAndPassword: { enabled: true },
  telemetry: { enabled: false },
  logger: { disabled: true },
});
const cookieOf = (headers) => headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");

await signIn.check("somebody signs up, is known by the cookie, and is not after signing out", async () => {
  const person = { email: "someone@example.com", password: "correct horse", name: "Someone" };
  const { headers } = await auth.api.signUpEmail({ body: person, returnHeaders: true });
  const cookie = cookieOf(headers);
  const known = await auth.api.getSession({ headers: new Headers({ cookie }) });
  assert.equal(known.user.email, person.email);
  assert.equal(rows.session.length, 0, "sessions are on the server alone");
  assert.ok((await ioredis.keys("auth:*")).length > 0);
  await auth.api.signOut({ headers: new Headers({ cookie }) });
  assert.equal(await auth.api.getSession({ headers: new Headers({ cookie }) }), null);
});
await signIn.check("two devices are listed, and one can end the other", async () => {
  const body = { email: "someone@example.com", password: "correct horse" };
  // One after the other: it reads the list of a person's sessions and writes it back.
  const device = async () => new Headers({ cookie: cookieOf((await auth.api.signInEmail({ body, returnHeaders: true })).headers) });
  const [one, two] = [await device(), await device()];
  assert.equal((await auth.api.listSessions({ headers: one })).length, 2);
  await auth.api.revokeOtherSessions({ headers: one });
  assert.equal(await auth.api.getSession({ headers: two }), null);
  assert.notEqual(await auth.api.getSession({ headers: one }), null);
});

finish(caches, limits, flexible, locks, signIn);
