// node-redis 5 (RESP2 unless told otherwise) and 6 (RESP3 unless told otherwise)
// against a server.
//
// Database 9 is emptied and used; session keys live in database 0 and are told
// apart by a random token. MULTI and scripts are not asked for here.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as redis5 from "redis5";
import * as redis6 from "redis";
import { Checks, address, errorRows, eventually, fields, finish, sleep } from "./checks.mjs";

const server = address("SERVER");
const locked = address("AUTH_SERVER");
const password = process.env.AUTH_PASSWORD;

const flavours = [
  { name: "node-redis 5", redis: redis5, options: {}, proto: 2 },
  { name: "node-redis 5 on RESP3", redis: redis5, options: { RESP: 3 }, proto: 3 },
  { name: "node-redis 6", redis: redis6, options: {}, proto: 3 },
  { name: "node-redis 6 on RESP2", redis: redis6, options: { RESP: 2 }, proto: 2 },
];

async function converse({ name, redis: { createClient, RESP_TYPES }, options, proto }) {
  const checks = new Checks(name);
  const check = checks.check.bind(checks);
  const open = async (more = {}) => {
    const client = createClient({ socket: server, database: 9, ...options, ...more });
    // A cut connection is part of several checks; whoever waits for a reply sees the error.
    client.on("error", () => {});
    return client.connect();
  };
  const client = await open({ name: "first" });

  await check("connects, is ready and selects its database", async () => {
    assert.equal(client.isReady, true);
    assert.equal(await client.ping(), "PONG");
    assert.equal((await client.clientInfo()).db, 9);
    assert.equal(await client.flushDb(), "OK");
    assert.equal(await client.dbSize(), 0);
  });

  await check("names itself and is listed", async () => {
    assert.equal(await client.clientGetName(), "first");
    assert.equal(await client.clientSetName("second"), "OK");
    const id = await client.clientId();
    const listed = (await client.clientList()).find((row) => row.id === id);
    assert.equal(listed.name, "second");
    assert.equal(listed.laddr, `127.0.0.1:${server.port}`);
    const info = await client.clientInfo();
    assert.equal(info.id, id);
    assert.equal(info.name, "second");
  });

  await check("a value lives exactly as long as its PX says", async () => {
    assert.equal(await client.set("short", "lived", { expiration: { type: "PX", value: 60_000 } }), "OK");
    assert.equal(await client.get("short"), "lived");
    const left = await client.pTTL("short");
    assert.ok(left > 0 && left <= 60_000, `pttl ${left}`);
    assert.equal(await client.set("short", "lived", { expiration: { type: "PX", value: 100 } }), "OK");
    await sleep(110);
    assert.equal(await client.get("short"), null);
    assert.equal(await client.exists("short"), 0);
    assert.equal(await client.ttl("short"), -2);
    assert.equal(await client.pTTL("short"), -2);
  });

  await check("an expired key is reclaimed without being read", async () => {
    await client.pSetEx("unread", 50, "x");
    await eventually("the key to leave DBSIZE", async () => (await client.dbSize()) === 0);
  });

  await check("SETEX, PSETEX and SET's EX, PX, EXAT, PXAT set the deadline", async () => {
    const now = Date.now();
    await client.setEx("a", 100, "v");
    await client.pSetEx("b", 100_000, "v");
    await client.set("c", "v", { EX: 100 });
    await client.set("d", "v", { PX: 100_000 });
    await client.set("e", "v", { expiration: { type: "EXAT", value: Math.floor(now / 1000) + 100 } });
    await client.set("f", "v", { expiration: { type: "PXAT", value: now + 100_000 } });
    for (const key of "abcdef") {
      const left = await client.pTTL(key);
      assert.ok(left > 95_000 && left <= 100_000, `${key}: ${left}`);
    }
    assert.equal(await client.pExpireTime("f"), now + 100_000);
  });

  await check("NX, XX, GET and KEEPTTL hold", async () => {
    assert.equal(await client.set("opt", "1", { condition: "NX" }), "OK");
    assert.equal(await client.set("opt", "2", { condition: "NX" }), null);
    assert.equal(await client.set("none", "2", { condition: "XX" }), null);
    assert.equal(await client.set("opt", "3", { condition: "XX", expiration: { type: "EX", value: 50 } }), "OK");
    assert.equal(await client.set("opt", "4", { expiration: "KEEPTTL", GET: true }), "3");
    assert.ok((await client.ttl("opt")) > 45);
    assert.equal(await client.set("opt", "5", { GET: true }), "4");
    assert.equal(await client.ttl("opt"), -1);
    assert.equal(await client.set("opt", "6", { condition: "NX", GET: true }), "5");
    assert.equal(await client.get("opt"), "5");
    assert.equal(await client.setNX("opt", "7"), 0);
    assert.equal(await client.getSet("opt", "8"), "5");
    assert.equal(await client.getDel("opt"), "8");
    assert.equal(await client.get("opt"), null);
  });

  await check("values are bytes: empty, binary, unicode, a megabyte", async () => {
    const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const binary = Buffer.from([0, 13, 10, 255, 36, 49, 13, 10]);
    const large = randomBytes(1 << 20);
    await client.set("empty", "");
    await client.set(binary, binary);
    await client.set("clé", "Ελλάδα 🧥");
    await client.set("large", large);
    assert.equal(await client.get("empty"), "");
    assert.deepEqual(await bytes.get(binary), binary);
    assert.equal(await client.get("clé"), "Ελλάδα 🧥");
    assert.deepEqual(await bytes.get("large"), large);
    assert.equal(await client.strLen("large"), 1 << 20);
  });

  await check("MSET, MSETNX, MGET keep their order and show gaps", async () => {
    assert.equal(await client.mSet({ m1: "1", m2: "2" }), "OK");
    assert.equal(await client.mSetNX({ m2: "x", m3: "x" }), 0);
    assert.deepEqual(await client.mGet(["m2", "nope", "m1", "m3", "m2"]), ["2", null, "1", null, "2"]);
    assert.equal(await client.mSetNX({ m3: "3", m4: "4" }), 1);
  });

  await check("counters count", async () => {
    assert.equal(await client.incr("n"), 1);
    assert.equal(await client.incrBy("n", 41), 42);
    assert.equal(await client.decr("n"), 41);
    assert.equal(await client.decrBy("n", 50), -9);
    assert.equal(await client.incrByFloat("n", 10.5), "1.5");
    await client.setEx("hits", 100, "9");
    assert.equal(await client.incr("hits"), 10);
    assert.ok((await client.ttl("hits")) > 95, "INCR keeps the deadline");
  });

  await check("APPEND, GETRANGE, SETRANGE, LCS cut and join", async () => {
    assert.equal(await client.append("s", "Hello"), 5);
    assert.equal(await client.append("s", " World"), 11);
    assert.equal(await client.getRange("s", -5, -1), "World");
    assert.equal(await client.setRange("s", 6, "Redis"), 11);
    assert.equal(await client.get("s"), "Hello Redis");
    assert.equal(await client.setRange("padded", 3, "x"), 4);
    assert.equal(await client.get("padded"), "\0\0\0x");
    assert.equal(await client.lcs("s", "padded"), "");
    await client.set("t", "Yellow Redis");
    assert.equal(await client.lcsLen("s", "t"), 10);
    const { matches, len } = await client.lcsIdx("s", "t");
    assert.equal(len, 10);
    assert.deepEqual(matches, [[[5, 10], [6, 11]], [[1, 4], [1, 4]]]);
  });

  await check("EXPIRE and its kin move the deadline, PERSIST lifts it", async () => {
    await client.set("x", "v");
    assert.equal(await client.ttl("x"), -1);
    assert.equal(await client.expire("x", 100), 1);
    assert.equal(await client.expire("x", 50, "GT"), 0);
    assert.equal(await client.expire("x", 50, "LT"), 1);
    assert.equal(await client.expire("x", 50, "NX"), 0);
    assert.equal(await client.pExpire("x", 70_000, "XX"), 1);
    assert.ok([69, 70].includes(await client.ttl("x")));
    const at = Math.floor(Date.now() / 1000) + 90;
    assert.equal(await client.expireAt("x", at), 1);
    assert.equal(await client.expireTime("x"), at);
    assert.equal(await client.persist("x"), 1);
    assert.equal(await client.persist("x"), 0);
    assert.equal(await client.getEx("x", { type: "EX", value: 30 }), "v");
    assert.ok((await client.ttl("x")) >= 29);
    assert.equal(await client.getEx("x", { type: "PERSIST" }), "v");
    assert.equal(await client.ttl("x"), -1);
    assert.equal(await client.expire("x", -1), 1);
    assert.equal(await client.exists("x"), 0);
    assert.equal(await client.expire("x", 10), 0);
  });

  await check("RENAME and COPY carry value and deadline", async () => {
    await client.setEx("from", 100, "v");
    assert.equal(await client.rename("from", "to"), "OK");
    assert.equal(await client.exists("from"), 0);
    assert.ok((await client.ttl("to")) > 95);
    assert.equal(await client.copy("to", "twin"), 1);
    assert.equal(await client.copy("to", "twin"), 0);
    assert.equal(await client.copy("to", "twin", { REPLACE: true }), 1);
    assert.ok((await client.ttl("twin")) > 95);
    assert.equal(await client.renameNX("to", "twin"), 0);
    assert.equal(await client.del(["to", "twin", "nope"]), 2);
  });

  await check("OBJECT, TYPE, MEMORY USAGE, TOUCH describe a key", async () => {
    await client.mSet({ int: "123", short: "abc", raw: "r".repeat(100) });
    assert.equal(await client.objectEncoding("int"), "int");
    assert.equal(await client.objectEncoding("short"), "embstr");
    assert.equal(await client.objectEncoding("raw"), "raw");
    assert.equal(await client.objectEncoding("nope"), null);
    assert.ok((await client.objectIdleTime("raw")) >= 0);
    assert.ok((await client.objectRefCount("raw")) >= 1);
    assert.equal(await client.type("raw"), "string");
    assert.equal(await client.type("nope"), "none");
    assert.ok((await client.memoryUsage("raw")) >= 100);
    assert.equal(await client.touch(["int", "short", "nope"]), 2);
    assert.ok((await client.randomKey()).length > 0);
  });

  await check("commands sent at once go as one pipeline and come back in order", async () => {
    const sets = Array.from({ length: 1_000 }, (_, i) => client.setEx(`p:${i}`, 60, String(i)));
    const wrong = assert.rejects(client.incr("raw"), { message: "ERR value is not an integer or out of range" });
    const gets = Array.from({ length: 1_000 }, (_, i) => client.get(`p:${i}`));
    assert.ok((await Promise.all(sets)).every((reply) => reply === "OK"));
    await wrong;
    assert.deepEqual(await Promise.all(gets), Array.from({ length: 1_000 }, (_, i) => String(i)));
  });

  await check("SCAN finds every key that stays, once or more; KEYS agrees", async () => {
    const seen = new Set();
    for await (const keys of client.scanIterator({ MATCH: "p:*", COUNT: 50 })) keys.forEach((key) => seen.add(key));
    assert.equal(seen.size, 1_000);
    for (let i = 0; i < 1_000; i += 1) assert.ok(seen.has(`p:${i}`));
    assert.equal((await client.keys("p:99?")).length, 10);
    assert.deepEqual((await client.scan("0", { TYPE: "list", COUNT: 5_000 })).keys, []);
    assert.equal(await client.unlink([...seen]), 1_000);
  });

  await check("databases are apart; MOVE and SWAPDB carry keys across", async () => {
    const other = await open({ database: 10 });
    await other.flushDb();
    await client.set("here", "9");
    assert.equal(await other.get("here"), null);
    assert.equal(await client.move("here", 10), 1);
    assert.equal(await other.get("here"), "9");
    assert.equal(await other.swapDb(10, 11), "OK");
    assert.equal(await other.get("here"), null);
    await other.select(11);
    assert.equal(await other.get("here"), "9");
    assert.equal(await other.flushDb("ASYNC"), "OK");
    other.destroy();
  });

  await check("CONFIG gets by pattern, sets, and puts back", async () => {
    assert.match((await client.configGet("maxmemory")).maxmemory, /^\d+$/);
    assert.ok("maxmemory-policy" in (await client.configGet("maxmemory*")));
    const { timeout } = await client.configGet("timeout");
    assert.equal(await client.configSet("timeout", "1234"), "OK");
    assert.equal((await client.configGet(["time*ut", "port"])).timeout, "1234");
    assert.equal(await client.configSet("timeout", timeout), "OK");
    assert.deepEqual({ ...(await client.configGet("no-such-setting")) }, {});
    assert.equal(await client.configResetStat(), "OK");
  });

  await check("INFO, COMMAND, TIME, ECHO, WAIT, LATENCY answer as tools expect", async () => {
    const info = fields(await client.info());
    assert.match(info.redis_version, /^\d+\.\d+\.\d+$/);
    assert.equal(info.role, "master");
    assert.equal(info.tcp_port, String(server.port));
    assert.ok(Number(info.total_commands_processed) >= 0);
    assert.match(info.db9, /^keys=\d+,expires=\d+,avg_ttl=\d+/);
    assert.ok((await client.commandCount()) > 60);
    assert.ok((await client.commandList()).includes("getex"));
    const [get, nope] = await client.commandInfo(["get", "nope"]);
    assert.equal(nope, null);
    assert.deepEqual([get.name, get.arity, get.firstKeyIndex, get.lastKeyIndex, get.step], ["get", 2, 1, 1, 1]);
    assert.ok(get.flags.has("readonly") && get.flags.has("fast"));
    assert.ok((await client.command()).some((row) => row.name === "set"));
    assert.deepEqual(await client.commandGetKeys(["MSET", "a", "1", "b", "2"]), ["a", "b"]);
    assert.ok(Math.abs(Number((await client.time())[0]) - Date.now() / 1000) < 5);
    assert.equal(await client.echo("hello"), "hello");
    assert.equal(await client.wait(0, 10), 0);
    assert.ok(Array.isArray(await client.latencyLatest()));
    assert.equal(await client.clientNoEvict(true), "OK");
    assert.equal(await client.clientUnpause(), "OK");
  });

  await check("COMMAND DOCS tells what a command is for", async () => {
    const reply = await client.sendCommand(["COMMAND", "DOCS", "GETEX"]);
    const pairs = (flat) => Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, i) => flat.slice(2 * i, 2 * i + 2)));
    const { getex } = Array.isArray(reply) ? pairs(reply) : reply;
    const doc = Array.isArray(getex) ? pairs(getex) : getex;
    assert.equal(doc.since, "6.2.0");
    assert.equal(doc.group, "string");
    assert.ok(doc.summary.length > 10);
  });

  await check(`HELLO tells protocol ${proto} and who the server is`, async () => {
    const hello = await client.hello();
    assert.equal(hello.server, "redis");
    assert.equal(hello.proto, proto);
    assert.equal(hello.mode, "standalone");
    assert.equal(hello.role, "master");
    assert.deepEqual(hello.modules, []);
    assert.equal(hello.id, await client.clientId());
  });

  await check("every error has Redis' own words and changes nothing", async () => {
    await client.set("err", "text");
    await client.set("errmax", "9223372036854775807");
    const keys = await client.dbSize();
    for (const [words, text] of errorRows("err")) {
      await assert.rejects(client.sendCommand(words), { message: text }, words.join(" "));
    }
    assert.equal(await client.get("err"), "text");
    assert.equal(await client.ttl("err"), -1);
    assert.equal(await client.dbSize(), keys);
  });

  await check("a killed connection comes back by itself, with its name and database", async () => {
    const victim = await open({ name: "victim" });
    await victim.set("survivor", "1");
    const id = await victim.clientId();
    const again = new Promise((resolve) => victim.once("ready", resolve));
    assert.equal(await client.clientKill({ filter: "ID", id }), 1);
    await again;
    assert.notEqual(await victim.clientId(), id);
    assert.equal(await victim.get("survivor"), "1");
    assert.equal(await victim.clientGetName(), "victim");
    assert.equal(await client.clientKill({ filter: "ID", id }), 0);
    victim.destroy();
  });

  await check("QUIT says OK and closes; connect() opens again", async () => {
    const guest = await open();
    assert.equal(await guest.sendCommand(["QUIT"]), "OK");
    await eventually("the socket to be noticed and opened again", async () => guest.isReady && (await guest.ping().catch(() => "")) === "PONG");
    await guest.close();
    assert.equal(guest.isOpen, false);
    const next = await guest.duplicate().connect();
    assert.equal(await next.get("err"), "text");
    next.destroy();
  });

  await check("a server with a password lets nobody in without it", async () => {
    const fixed = { socket: { ...locked, reconnectStrategy: false }, database: 0 };
    if (proto === 3) {
      // 7.0 says "HELLO AUTH", 7.2 "HELLO <proto> AUTH".
      await assert.rejects(open(fixed), /NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO (<proto> )?AUTH <user> <pass> option can be used/);
    } else {
      const stranger = await open(fixed);
      await assert.rejects(stranger.get("x"), { message: "NOAUTH Authentication required." });
      await assert.rejects(stranger.auth({ password: "wrong" }), { message: "WRONGPASS invalid username-password pair or user is disabled." });
      assert.equal(await stranger.auth({ password }), "OK");
      assert.equal(await stranger.get("x"), null);
      stranger.destroy();
    }
    await assert.rejects(open({ ...fixed, password: "wrong" }), { message: "WRONGPASS invalid username-password pair or user is disabled." });
    const guest = await open({ ...fixed, password });
    assert.equal(await guest.set("auth", "in", { PX: 60_000 }), "OK");
    guest.destroy();
    const named = await open({ ...fixed, username: "default", password });
    assert.equal(await named.get("auth"), "in");
    named.destroy();
  });

  await check("a session key works as any other, and is never listed with its token", async () => {
    const door = await open({ database: 0 });
    const token = randomBytes(24).toString("base64url");
    const key = `auth:session:${token}`;
    assert.equal(await door.get(key), null);
    assert.equal(await door.setEx(key, 100, "one"), "OK");
    assert.equal(await door.set(key, "two", { EX: 60, XX: true }), "OK");
    assert.equal(await door.get(key), "two");
    assert.equal(await door.exists(key), 1);
    assert.ok((await door.ttl(key)) > 55);
    assert.equal(await door.expire(key, 30), 1);
    const left = await door.pTTL(key);
    assert.ok(left > 25_000 && left <= 30_000, `pttl ${left}`);
    assert.deepEqual(await door.mGet([key, `${key}x`]), ["two", null]);

    const cloakroom = "cloakroom_version" in fields(await door.info("server"));
    const listed = new Set(await door.keys("auth:session:*"));
    for await (const keys of door.scanIterator({ COUNT: 100 })) keys.forEach((found) => listed.add(found));
    assert.equal([...listed].some((found) => found.includes(token)), !cloakroom);
    if (cloakroom) assert.ok([...listed].some((found) => found.startsWith("auth:session:")), "the entry is listed, hashed");

    assert.equal(await door.del(key), 1);
    assert.equal(await door.get(key), null);
    assert.equal(await door.ttl(key), -2);
    if (cloakroom) {
      await assert.rejects(door.setEx(key, 5, "late"), ({ message }) => /^FENCED /.test(message) && !message.includes(token));
      assert.equal(await door.get(key), null);
    }
    door.destroy();
  });

  await check("a session really expires", async () => {
    const door = await open({ database: 0 });
    const key = `auth:session:${randomBytes(24).toString("base64url")}`;
    await door.pSetEx(key, 60_000, "brief");
    assert.equal(await door.get(key), "brief");
    await door.pSetEx(key, 100, "brief");
    await sleep(110);
    assert.equal(await door.get(key), null);
    assert.equal(await door.exists(key), 0);
    door.destroy();
  });

  await check("is back by itself after the server has closed it for idleness", async () => {
    const idle = await open();
    await idle.set("kept", "1");
    const { timeout: before } = await client.configGet("timeout");
    await client.configSet("timeout", "1");
    try {
      await new Promise((resolve) => idle.once("reconnecting", resolve));
      assert.equal(await idle.get("kept"), "1");
    } finally {
      await client.configSet("timeout", before);
    }
    idle.destroy();
  });

  await client.flushDb();
  client.destroy();
  return checks;
}

const all = [];
for (const flavour of flavours) all.push(await converse(flavour));
finish(...all);
