// A real Express application whose sessions connect-redis keeps on the server.
//
// connect-redis 9 takes node-redis alone; connect-redis 8 is the last to take
// ioredis, so both are here. Sessions are written under `auth:session:`, where a
// cloakroom treats them as secrets and ends them at DEL (database 0, told apart by
// their ids), and under connect-redis' own `sess:`, which is an ordinary prefix
// (database 9, emptied). The store sends GET, SET EX, EXPIRE, DEL, MGET and SCAN,
// and neither MULTI nor scripts.

import assert from "node:assert/strict";
import { once } from "node:events";
import { RedisStore as Store9 } from "connect-redis";
import { RedisStore as Store8 } from "connect-redis8";
import express from "express";
import session from "express-session";
import Redis5 from "ioredis5";
import Redis6 from "ioredis6";
import { createClient as create6 } from "redis";
import { createClient as create5 } from "redis5";
import { Checks, address, fields, finish, sleep } from "./checks.mjs";

const server = address("SERVER");

/** Seconds a session of the application lives without being used. */
const SESSION_SECONDS = 60;

const nodeRedis = async (create, database) => {
  const client = create({ socket: server, database });
  client.on("error", () => {});
  await client.connect();
  return { client, end: () => client.destroy() };
};
const ioredis = async (Redis, db) => {
  const client = new Redis({ ...server, db });
  client.on("error", () => {});
  return { client, end: () => client.disconnect() };
};

const flavours = [
  { name: "connect-redis 9 on node-redis 6", Store: Store9, open: (db) => nodeRedis(create6, db) },
  { name: "connect-redis 9 on node-redis 5", Store: Store9, open: (db) => nodeRedis(create5, db) },
  { name: "connect-redis 8 on ioredis 6", Store: Store8, open: (db) => ioredis(Redis6, db) },
  { name: "connect-redis 8 on ioredis 5", Store: Store8, open: (db) => ioredis(Redis5, db) },
];

function application(store, maxAge) {
  const app = express();
  app.use(session({ store, secret: "only for this test", resave: false, saveUninitialized: false, rolling: true, cookie: { maxAge } }));
  app.post("/login/:user", (request, response, next) => {
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = request.params.user;
      response.json({ user: request.session.user });
    });
  });
  app.get("/me", (request, response) => response.json({ user: request.session.user ?? null }));
  app.post("/visit", (request, response) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    response.json({ visits: request.session.visits });
  });
  app.post("/logout", (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.json({ user: null })));
  });
  app.use((error, _request, response, _next) => response.status(500).json({ error: String(error) }));
  return app;
}

/** A browser as far as it matters here: it keeps one cookie. */
class Browser {
  cookie = "";

  constructor(origin) {
    this.origin = origin;
  }

  async send(method, path) {
    const response = await fetch(this.origin + path, {
      method,
      headers: this.cookie ? { cookie: this.cookie } : {},
      signal: AbortSignal.timeout(5_000),
    });
    const set = response.headers.get("set-cookie");
    if (set) this.cookie = set.split(";")[0];
    assert.equal(response.status, 200, `${method} ${path}: ${await response.clone().text()}`);
    return response.json();
  }

  /** The session's id, from `connect.sid=s%3A<id>.<signature>`. */
  get id() {
    return decodeURIComponent(this.cookie.split("=")[1]).slice(2).split(".")[0];
  }
}

async function converse({ name, Store, open }, prefix, database) {
  const checks = new Checks(`${name}, under ${prefix}*`);
  const check = checks.check.bind(checks);
  const { client, end } = await open(database);
  const cloakroom = "cloakroom_version" in fields(await client.info());
  const secret = cloakroom && prefix === "auth:session:";
  const store = new Store({ client, prefix });
  const serve = async (maxAge) => {
    const listener = application(store, maxAge).listen(0, "127.0.0.1");
    await once(listener, "listening");
    return { origin: `http://127.0.0.1:${listener.address().port}`, close: () => listener.closeAllConnections() ?? listener.close() };
  };
  const web = await serve(SESSION_SECONDS * 1_000);
  const ann = new Browser(web.origin);
  const ben = new Browser(web.origin);
  const others = await promised((done) => store.length(done));

  await check("nobody is signed in at first, and nothing is stored", async () => {
    assert.deepEqual(await ann.send("GET", "/me"), { user: null });
    assert.equal(ann.cookie, "");
  });

  await check("two people sign in and each sees only themselves", async () => {
    await Promise.all([ann.send("POST", "/login/ann"), ben.send("POST", "/login/ben")]);
    for (let i = 0; i < 5; i += 1) {
      const [a, b] = await Promise.all([ann.send("GET", "/me"), ben.send("GET", "/me")]);
      assert.deepEqual([a, b], [{ user: "ann" }, { user: "ben" }]);
    }
    assert.match(await client.get(prefix + ann.id), /"user":"ann"/);
  });

  await check("a session has the cookie's deadline, and each read moves it on", async () => {
    const key = prefix + ann.id;
    const ttl = await client.ttl(key);
    assert.ok(ttl > SESSION_SECONDS - 5 && ttl <= SESSION_SECONDS, `ttl ${ttl}`);
    await client.expire(key, 20);
    await ann.send("GET", "/me");
    assert.ok((await client.ttl(key)) > SESSION_SECONDS - 5, "touched");
  });

  await check("what a request writes the next one reads", async () => {
    for (let visits = 1; visits <= 5; visits += 1) assert.deepEqual(await ann.send("POST", "/visit"), { visits });
    assert.deepEqual(await ben.send("POST", "/visit"), { visits: 1 });
  });

  await check("the store lists and counts its sessions by SCAN", async () => {
    const ids = await promised((done) => store.ids(done));
    assert.equal(ids.length, others + 2);
    assert.equal(await promised((done) => store.length(done)), others + 2);
    // Under a secret prefix the ids that open a session in a browser are not listed; what is listed in their place
    // still reads the session for whoever may talk to the store.
    const users = (await promised((done) => store.all(done))).map((found) => found.user);
    assert.equal(ids.includes(ann.id) && ids.includes(ben.id), !secret);
    assert.ok(users.includes("ann") && users.includes("ben"));
  });

  await check("signing out ends the session, also for its old cookie", async () => {
    const { cookie, id } = ann;
    assert.deepEqual(await ann.send("POST", "/logout"), { user: null });
    assert.equal(await client.exists(prefix + id), 0);
    ann.cookie = cookie;
    assert.deepEqual(await ann.send("GET", "/me"), { user: null });
    assert.deepEqual(await ben.send("GET", "/me"), { user: "ben" });
    if (secret) {
      // A request that was under way at the sign-out cannot bring the session back.
      const late = promised((done) => store.set(id, { user: "ann", cookie: {} }, done));
      await assert.rejects(late, ({ message }) => /^FENCED /.test(message) && !message.includes(id));
    }
  });

  await check("signing in again gives a new session", async () => {
    const before = ann.id;
    await ann.send("POST", "/login/ann");
    assert.notEqual(ann.id, before);
    assert.deepEqual(await ann.send("GET", "/me"), { user: "ann" });
  });

  await check("a session that is not used is gone after its time", async () => {
    const brief = await serve(2_000);
    const eve = new Browser(brief.origin);
    await eve.send("POST", "/login/eve");
    assert.deepEqual(await eve.send("GET", "/me"), { user: "eve" });
    await sleep(2_100);
    assert.equal(await client.exists(prefix + eve.id), 0);
    assert.deepEqual(await eve.send("GET", "/me"), { user: null });
    brief.close();
  });

  await check("when all have signed out nothing is left", async () => {
    await Promise.all([ann.send("POST", "/logout"), ben.send("POST", "/logout")]);
    assert.equal(await promised((done) => store.length(done)), others);
  });

  // Only where the prefix is all ours: the store deletes whatever it finds.
  if (database !== 0) {
    await check("the store clears what it finds", async () => {
      await Promise.all([ann.send("POST", "/login/ann"), ben.send("POST", "/login/ben")]);
      await promised((done) => store.clear(done));
      assert.deepEqual(await ann.send("GET", "/me"), { user: null });
      assert.equal(await promised((done) => store.length(done)), 0);
    });
  }

  web.close();
  end();
  return checks;
}

/** The stores speak in callbacks. */
function promised(call) {
  return new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));
}

const emptied = await nodeRedis(create6, 9);
await emptied.client.flushDb();

const all = [];
for (const flavour of flavours) {
  all.push(await converse(flavour, "sess:", 9));
  all.push(await converse(flavour, "auth:session:", 0));
}
await emptied.client.flushDb();
finish(...all);
