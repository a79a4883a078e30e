// ioredis 5 (RESP2) and 6 (RESP3 by default, RESP2 on request) against a server.
//
// Database 9 is emptied and used; session keys live in database 0 and are told
// apart by a random token. MULTI and scripts are not asked for here.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import Redis5 from "ioredis5";
import Redis6 from "ioredis6";
import { Checks, address, errorRows, eventually, fields, finish, sleep } from "./checks.mjs";

const server = address("SERVER");
const locked = address("AUTH_SERVER");
const password = process.env.AUTH_PASSWORD;

const flavours = [
  { name: "ioredis 5", Redis: Redis5, options: {}, proto: 2 },
  { name: "ioredis 6", Redis: Redis6, options: {}, proto: 3 },
  { name: "ioredis 6 on RESP2", Redis: Redis6, options: { protocol: 2 }, proto: 2 },
];

async function converse({ name, Redis, options, proto }) {
  const checks = new Checks(name);
  const check = checks.check.bind(checks);
  const open = (more) => {
    const client = new Redis({ ...server, db: 9, ...options, ...more });
    // A cut connection is part of several checks; whoever waits for a reply sees the error.
    client.on("error", () => {});
    return client;
  };
  const redis = open({ connectionName: "first" });

  await check("connects, is ready and selects its database", async () => {
    assert.equal(await redis.ping(), "PONG");
    assert.equal(redis.status, "ready");
    assert.match(await redis.client("INFO"), / db=9 /);
    assert.equal(await redis.flushdb(), "OK");
    assert.equal(await redis.dbsize(), 0);
  });

  await check("names itself and is listed", async () => {
    assert.equal(await redis.client("GETNAME"), "first");
    assert.equal(await redis.client("SETNAME", "second"), "OK");
    const id = await redis.client("ID");
    const list = await redis.client("LIST");
    assert.match(list, new RegExp(`^id=${id} .* name=second .*`, "m"));
    assert.match(await redis.client("INFO"), new RegExp(`^id=${id} addr=127\\.0\\.0\\.1:\\d+ laddr=127\\.0\\.0\\.1:${server.port} fd=\\d+ name=second `));
  });

  await check("a value lives exactly as long as its PX says", async () => {
    assert.equal(await redis.set("short", "lived", "PX", 60_000), "OK");
    assert.equal(await redis.get("short"), "lived");
    const left = await redis.pttl("short");
    assert.ok(left > 0 && left <= 60_000, `pttl ${left}`);
    assert.equal(await redis.set("short", "lived", "PX", 100), "OK");
    await sleep(110);
    assert.equal(await redis.get("short"), null);
    assert.equal(await redis.exists("short"), 0);
    assert.equal(await redis.ttl("short"), -2);
    assert.equal(await redis.pttl("short"), -2);
  });

  await check("an expired key is reclaimed without being read", async () => {
    await redis.set("unread", "x", "PX", 50);
    await eventually("the key to leave DBSIZE", async () => (await redis.dbsize()) === 0);
  });

  await check("SETEX, PSETEX and SET's EX, PX, EXAT, PXAT set the deadline", async () => {
    const now = Date.now();
    await redis.setex("a", 100, "v");
    await redis.psetex("b", 100_000, "v");
    await redis.set("c", "v", "EX", 100);
    await redis.set("d", "v", "PX", 100_000);
    await redis.set("e", "v", "EXAT", Math.floor(now / 1000) + 100);
    await redis.set("f", "v", "PXAT", now + 100_000);
    for (const key of "abcdef") {
      const left = await redis.pttl(key);
      assert.ok(left > 95_000 && left <= 100_000, `${key}: ${left}`);
    }
    assert.equal(await redis.pexpiretime("f"), now + 100_000);
  });

  await check("NX, XX, GET and KEEPTTL hold", async () => {
    assert.equal(await redis.set("opt", "1", "NX"), "OK");
    assert.equal(await redis.set("opt", "2", "NX"), null);
    assert.equal(await redis.set("none", "2", "XX"), null);
    assert.equal(await redis.set("opt", "3", "EX", 50, "XX"), "OK");
    assert.equal(await redis.set("opt", "4", "KEEPTTL", "GET"), "3");
    assert.ok((await redis.ttl("opt")) > 45);
    assert.equal(await redis.set("opt", "5", "GET"), "4");
    assert.equal(await redis.ttl("opt"), -1);
    assert.equal(await redis.set("opt", "6", "NX", "GET"), "5");
    assert.equal(await redis.get("opt"), "5");
    assert.equal(await redis.setnx("opt", "7"), 0);
    assert.equal(await redis.getset("opt", "8"), "5");
    assert.equal(await redis.getdel("opt"), "8");
    assert.equal(await redis.get("opt"), null);
  });

  await check("values are bytes: empty, binary, unicode, a megabyte", async () => {
    const binary = Buffer.from([0, 13, 10, 255, 36, 49, 13, 10]);
    const large = randomBytes(1 << 20);
    await redis.set("empty", "");
    await redis.set(binary, binary);
    await redis.set("clé", "Ελλάδα 🧥");
    await redis.set("large", large);
    assert.equal(await redis.get("empty"), "");
    assert.deepEqual(await redis.getBuffer(binary), binary);
    assert.equal(await redis.get("clé"), "Ελλάδα 🧥");
    assert.deepEqual(await redis.getBuffer("large"), large);
    assert.equal(await redis.strlen("large"), 1 << 20);
  });

  await check("MSET, MSETNX, MGET keep their order and show gaps", async () => {
    assert.equal(await redis.mset({ m1: "1", m2: "2" }), "OK");
    assert.equal(await redis.msetnx("m2", "x", "m3", "x"), 0);
    assert.deepEqual(await redis.mget("m2", "nope", "m1", "m3", "m2"), ["2", null, "1", null, "2"]);
    assert.equal(await redis.msetnx("m3", "3", "m4", "4"), 1);
  });

  await check("counters count", async () => {
    assert.equal(await redis.incr("n"), 1);
    assert.equal(await redis.incrby("n", 41), 42);
    assert.equal(await redis.decr("n"), 41);
    assert.equal(await redis.decrby("n", 50), -9);
    assert.equal(await redis.incrbyfloat("n", 10.5), "1.5");
    await redis.set("hits", "9", "EX", 100);
    assert.equal(await redis.incr("hits"), 10);
    assert.ok((await redis.ttl("hits")) > 95, "INCR keeps the deadline");
  });

  await check("APPEND, GETRANGE, SETRANGE, STRLEN cut and join", async () => {
    assert.equal(await redis.append("s", "Hello"), 5);
    assert.equal(await redis.append("s", " World"), 11);
    assert.equal(await redis.getrange("s", -5, -1), "World");
    assert.equal(await redis.setrange("s", 6, "Redis"), 11);
    assert.equal(await redis.get("s"), "Hello Redis");
    assert.equal(await redis.setrange("padded", 3, "x"), 4);
    assert.deepEqual(await redis.getBuffer("padded"), Buffer.from("\0\0\0x"));
    assert.equal(await redis.call("LCS", "s", "s", "LEN"), 11);
  });

  await check("EXPIRE and its kin move the deadline, PERSIST lifts it", async () => {
    await redis.set("x", "v");
    assert.equal(await redis.ttl("x"), -1);
    assert.equal(await redis.expire("x", 100), 1);
    assert.equal(await redis.expire("x", 50, "GT"), 0);
    assert.equal(await redis.expire("x", 50, "LT"), 1);
    assert.equal(await redis.expire("x", 50, "NX"), 0);
    assert.equal(await redis.pexpire("x", 70_000, "XX"), 1);
    assert.ok([69, 70].includes(await redis.ttl("x")));
    const at = Math.floor(Date.now() / 1000) + 90;
    assert.equal(await redis.expireat("x", at), 1);
    assert.equal(await redis.expiretime("x"), at);
    assert.equal(await redis.persist("x"), 1);
    assert.equal(await redis.persist("x"), 0);
    assert.equal(await redis.call("GETEX", "x", "EX", 30), "v");
    assert.ok((await redis.ttl("x")) >= 29);
    assert.equal(await redis.expire("x", -1), 1);
    assert.equal(await redis.exists("x"), 0);
    assert.equal(await redis.expire("x", 10), 0);
  });

  await check("RENAME and COPY carry value and deadline", async () => {
    await redis.set("from", "v", "EX", 100);
    assert.equal(await redis.rename("from", "to"), "OK");
    assert.equal(await redis.exists("from"), 0);
    assert.ok((await redis.ttl("to")) > 95);
    assert.equal(await redis.copy("to", "twin"), 1);
    assert.equal(await redis.copy("to", "twin"), 0);
    assert.equal(await redis.copy("to", "twin", "REPLACE"), 1);
    assert.ok((await redis.ttl("twin")) > 95);
    assert.equal(await redis.renamenx("to", "twin"), 0);
    assert.equal(await redis.del("to", "twin", "nope"), 2);
  });

  await check("OBJECT, TYPE, MEMORY USAGE, TOUCH describe a key", async () => {
    await redis.mset({ int: "123", short: "abc", raw: "r".repeat(100) });
    assert.equal(await redis.object("ENCODING", "int"), "int");
    assert.equal(await redis.object("ENCODING", "short"), "embstr");
    assert.equal(await redis.object("ENCODING", "raw"), "raw");
    assert.equal(await redis.object("ENCODING", "nope"), null);
    assert.equal(await redis.type("raw"), "string");
    assert.equal(await redis.type("nope"), "none");
    assert.ok((await redis.memory("USAGE", "raw")) >= 100);
    assert.equal(await redis.touch("int", "short", "nope"), 2);
    assert.ok((await redis.randomkey()).length > 0);
  });

  await check("a pipeline answers in order and survives an error in its middle", async () => {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1_000; i += 1) pipeline.set(`p:${i}`, i, "EX", 60);
    pipeline.incr("raw");
    for (let i = 0; i < 1_000; i += 1) pipeline.get(`p:${i}`);
    const replies = await pipeline.exec();
    assert.equal(replies.length, 2_001);
    assert.match(replies[1_000][0].message, /^ERR value is not an integer or out of range$/);
    replies.splice(1_000, 1);
    for (const [i, [error, value]] of replies.entries()) {
      assert.equal(error, null);
      assert.equal(value, i < 1_000 ? "OK" : String(i - 1_000));
    }
  });

  await check("commands sent without waiting come back in order", async () => {
    const auto = open({ enableAutoPipelining: true });
    const values = await Promise.all(Array.from({ length: 300 }, (_, i) => auto.get(`p:${i}`)));
    assert.deepEqual(values, values.map((_, i) => String(i)));
    auto.disconnect();
  });

  await check("SCAN finds every key that stays, once or more; KEYS agrees", async () => {
    const seen = new Set();
    for await (const keys of redis.scanStream({ match: "p:*", count: 50 })) keys.forEach((key) => seen.add(key));
    assert.equal(seen.size, 1_000);
    for (let i = 0; i < 1_000; i += 1) assert.ok(seen.has(`p:${i}`));
    assert.equal((await redis.keys("p:99?")).length, 10);
    const typed = await redis.scan(0, "TYPE", "list", "COUNT", 5_000);
    assert.deepEqual(typed[1], []);
    assert.equal(await redis.unlink(...seen), 1_000);
  });

  await check("databases are apart; MOVE and SWAPDB carry keys across", async () => {
    const other = open({ db: 10 });
    await other.flushdb();
    await redis.set("here", "9");
    assert.equal(await other.get("here"), null);
    assert.equal(await redis.move("here", 10), 1);
    assert.equal(await other.get("here"), "9");
    assert.equal(await other.call("SWAPDB", 10, 11), "OK");
    assert.equal(await other.get("here"), null);
    assert.equal(await other.select(11), "OK");
    assert.equal(await other.get("here"), "9");
    await other.flushdb("ASYNC");
    other.disconnect();
  });

  await check("CONFIG gets by pattern, sets, and puts back", async () => {
    // RESP3 has a map here; ioredis 6 hands it on as pairs in a flat list or as an object.
    const setting = async (pattern) => {
      const reply = await redis.config("GET", pattern);
      return Array.isArray(reply)
        ? Object.fromEntries(Array.from({ length: reply.length / 2 }, (_, i) => reply.slice(2 * i, 2 * i + 2)))
        : reply;
    };
    assert.match((await setting("maxmemory")).maxmemory, /^\d+$/);
    assert.ok("maxmemory-policy" in (await setting("maxmemory*")));
    const { timeout } = await setting("timeout");
    assert.equal(await redis.config("SET", "timeout", "1234"), "OK");
    assert.equal((await setting("timeout")).timeout, "1234");
    assert.equal(await redis.config("SET", "timeout", timeout), "OK");
    assert.deepEqual(await setting("no-such-setting"), {});
  });

  await check("INFO, COMMAND, TIME, ECHO, WAIT, SLOWLOG answer as tools expect", async () => {
    const info = fields(await redis.info());
    assert.match(info.redis_version, /^\d+\.\d+\.\d+$/);
    assert.equal(info.loading, "0");
    assert.equal(info.role, "master");
    assert.equal(info.tcp_port, String(server.port));
    assert.ok(Number(info.connected_clients) >= 1);
    assert.ok(Number(info.used_memory) > 0);
    assert.match(info.db9, /^keys=\d+,expires=\d+,avg_ttl=\d+/);
    assert.ok(!("role" in fields(await redis.info("server"))));
    assert.ok((await redis.command("COUNT")) > 60);
    const [row] = await redis.command("INFO", "get");
    assert.deepEqual([row[0], row[1], row[3], row[4], row[5]], ["get", 2, 1, 1, 1]);
    assert.ok([...row[2]].includes("readonly") && [...row[2]].includes("fast"));
    assert.deepEqual(await redis.command("GETKEYS", "MSET", "a", "1", "b", "2"), ["a", "b"]);
    assert.ok(Math.abs((await redis.time())[0] - Date.now() / 1000) < 5);
    assert.equal(await redis.echo("hello"), "hello");
    assert.equal(await redis.wait(0, 10), 0);
    assert.ok((await redis.slowlog("LEN")) >= 0);
    assert.ok(Array.isArray(await redis.slowlog("GET", 1)));
  });

  await check(`HELLO tells protocol ${proto} and who the server is`, async () => {
    const hello = await redis.call("HELLO");
    const told = Array.isArray(hello)
      ? Object.fromEntries(Array.from({ length: hello.length / 2 }, (_, i) => hello.slice(2 * i, 2 * i + 2)))
      : hello;
    assert.equal(told.server, "redis");
    assert.equal(told.proto, proto);
    assert.equal(told.mode, "standalone");
    assert.equal(told.role, "master");
    assert.deepEqual(told.modules, []);
    assert.equal(told.id, await redis.client("ID"));
  });

  await check("every error has Redis' own words and changes nothing", async () => {
    await redis.set("err", "text");
    await redis.set("errmax", "9223372036854775807");
    const keys = await redis.dbsize();
    for (const [[command, ...args], text] of errorRows("err")) {
      await assert.rejects(redis.call(command, ...args), { message: text }, [command, ...args].join(" "));
    }
    assert.equal(await redis.get("err"), "text");
    assert.equal(await redis.ttl("err"), -1);
    assert.equal(await redis.dbsize(), keys);
  });

  await check("a killed connection comes back by itself, with its name and database", async () => {
    const victim = open({ connectionName: "victim" });
    await victim.set("survivor", "1");
    const id = await victim.client("ID");
    assert.equal(await redis.client("KILL", "ID", id), 1);
    await eventually("a new connection", async () => (await victim.client("ID").catch(() => id)) !== id);
    assert.equal(await victim.get("survivor"), "1");
    assert.equal(await victim.client("GETNAME"), "victim");
    assert.equal(await redis.client("KILL", "ID", id), 0);
    victim.disconnect();
  });

  await check("QUIT says OK and closes; connect() opens again", async () => {
    const guest = open();
    assert.equal(await guest.quit(), "OK");
    await eventually("the connection to end", () => guest.status === "end");
    await assert.rejects(guest.get("err"), /Connection is closed/);
    await guest.connect();
    assert.equal(await guest.get("err"), "text");
    guest.disconnect();
  });

  await check("a server with a password lets nobody in without it", async () => {
    const stranger = open({ ...locked, db: 0, enableReadyCheck: false, ...(proto === 3 ? { protocol: 2 } : {}) });
    await assert.rejects(stranger.get("x"), { message: "NOAUTH Authentication required." });
    await assert.rejects(stranger.call("AUTH", "wrong"), { message: "WRONGPASS invalid username-password pair or user is disabled." });
    // 7.0 says "HELLO AUTH", 7.2 "HELLO <proto> AUTH".
    await assert.rejects(stranger.call("HELLO", "3"), /NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO (<proto> )?AUTH <user> <pass> option can be used/);
    assert.equal(await stranger.call("AUTH", password), "OK");
    assert.equal(await stranger.get("x"), null);
    stranger.disconnect();

    const guest = open({ ...locked, password });
    assert.equal(await guest.set("auth", "in", "PX", 60_000), "OK");
    assert.equal(await guest.get("auth"), "in");
    guest.disconnect();
    const named = open({ ...locked, username: "default", password });
    assert.equal(await named.get("auth"), "in");
    named.disconnect();
    await assert.rejects(redis.call("AUTH", "any"), {
      message: "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    });
  });

  await check("a session key works as any other, and is never listed with its token", async () => {
    const door = open({ db: 0 });
    const token = randomBytes(24).toString("base64url");
    const key = `auth:session:${token}`;
    assert.equal(await door.get(key), null);
    assert.equal(await door.setex(key, 100, "one"), "OK");
    assert.equal(await door.set(key, "two", "EX", 60, "XX"), "OK");
    assert.equal(await door.get(key), "two");
    assert.equal(await door.exists(key), 1);
    assert.ok((await door.ttl(key)) > 55);
    assert.equal(await door.expire(key, 30), 1);
    const left = await door.pttl(key);
    assert.ok(left > 25_000 && left <= 30_000, `pttl ${left}`);
    assert.deepEqual(await door.mget(key, `${key}x`), ["two", null]);

    const cloakroom = "cloakroom_version" in fields(await door.info("server"));
    const listed = new Set(await door.keys("auth:session:*"));
    for await (const keys of door.scanStream({ count: 100 })) keys.forEach((found) => listed.add(found));
    assert.equal([...listed].some((found) => found.includes(token)), !cloakroom);
    if (cloakroom) assert.ok([...listed].some((found) => found.startsWith("auth:session:")), "the entry is listed, hashed");

    assert.equal(await door.del(key), 1);
    assert.equal(await door.get(key), null);
    assert.equal(await door.ttl(key), -2);
    if (cloakroom) {
      await assert.rejects(door.set(key, "late", "EX", 5), ({ message }) => /^FENCED /.test(message) && !message.includes(token));
      assert.equal(await door.get(key), null);
    }
    door.disconnect();
  });

  await check("a session really expires", async () => {
    const door = open({ db: 0 });
    const key = `auth:session:${randomBytes(24).toString("base64url")}`;
    await door.psetex(key, 60_000, "brief");
    assert.equal(await door.get(key), "brief");
    await door.psetex(key, 100, "brief");
    await sleep(110);
    assert.equal(await door.get(key), null);
    assert.equal(await door.exists(key), 0);
    door.disconnect();
  });

  await check("is back by itself after the server has closed it for idleness, and hears what was published since", async () => {
    const [idle, listener] = [open(), open()];
    await idle.set("kept", "1");
    const heard = new Promise((resolve) => listener.on("message", (_, message) => resolve(message)));
    // A SUBSCRIBE between its connecting and its own first INFO would have INFO refused, and ioredis begin anew without it.
    await listener.ping();
    await listener.subscribe("idle");
    const [, before] = await redis.config("GET", "timeout");
    await redis.config("SET", "timeout", 1);
    try {
      const closed = new Promise((resolve) => idle.once("close", resolve));
      await closed;
      assert.equal(await idle.get("kept"), "1");
    } finally {
      await redis.config("SET", "timeout", before);
    }
    assert.equal(await redis.publish("idle", "still here"), 1);
    assert.equal(await heard, "still here");
    idle.disconnect();
    listener.disconnect();
  });

  await redis.flushdb();
  redis.disconnect();
  return checks;
}

const all = [];
for (const flavour of flavours) all.push(await converse(flavour));
finish(...all);
