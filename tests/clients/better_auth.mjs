// The real better-auth behind cloakroom with `profile better-auth`: its own client, its own server, a memory for a database.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { createAuthClient } from "better-auth/client";
import { toNodeHandler } from "better-auth/node";
import { bearer } from "better-auth/plugins";
import { Checks, eventually, finish, sleep } from "./checks.mjs";

const TTL_MS = 3_000;
const STOP_MS = 3_000;
const TOKEN = "better-auth.session_token";

const work = mkdtempSync(join(tmpdir(), "cloakroom-better-auth-"));
const programs = [];

/** better-auth behind a cloakroom of its own. */
async function pair(session) {
  const side = { checks: 0, down: false, handler: undefined, slow: 0 };
  const backend = createServer(async (asked, answer) => {
    const isCheck = asked.method === "GET" && asked.url.startsWith("/api/auth/get-session");
    side.checks += isCheck;
    if (side.down) return asked.socket.destroy();
    if (isCheck && side.slow) await sleep(side.slow);
    await side.handler(asked, answer);
  });
  await new Promise((done) => backend.listen(0, "127.0.0.1", done));
  side.direct = `http://127.0.0.1:${backend.address().port}`;

  // Where the binary lies is no setting of its own, and CLOAKROOM_* names settings.
  const { CLOAKROOM_BIN, ...env } = process.env;
  const args = ["--port", "0", "--http-port", "0", "--dir", work, "--fence-log", "no", "--upstream", side.direct];
  args.push("--profile", "better-auth", "--session-ttl", `${TTL_MS}ms`, "--upstream-timeout", "5s");
  const child = spawn(CLOAKROOM_BIN, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  programs.push(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const port = () => said.match(/listening on \S+:(\d+) \(http\)/)?.[1];
  await eventually("cloakroom listens", () => port() ?? (child.exitCode !== null && assert.fail(said)));
  side.url = `http://127.0.0.1:${port()}`;

  const rows = { user: [], session: [], account: [], verification: [], rateLimit: [] };
  const auth = betterAuth({
    baseURL: side.url,
    secret: "a secret that is only for this test, and long enough",
    database: memoryAdapter(rows),
    emailAndPassword: { enabled: true },
    plugins: [bearer()],
    session,
    telemetry: { enabled: false },
    logger: { disabled: true },
  });
  side.handler = toNodeHandler(auth);
  side.rows = rows;
  return side;
}

/** A browser: keeps cookies, and gives them to better-auth's own client. */
function browser(side) {
  const jar = new Map();
  const own = {
    jar,
    answers: [],
    cookie: () => [...jar].map(([name, value]) => `${name}=${value}`).join("; "),
    /** One request with this browser's cookies; its `Set-Cookie` lines are kept. */
    async fetch(url, options = {}) {
      const headers = new Headers(options.headers);
      headers.set("origin", side.url);
      if (jar.size > 0) headers.set("cookie", own.cookie());
      const answer = await fetch(url, { ...options, headers });
      for (const line of answer.headers.getSetCookie()) {
        const [pair, ...attributes] = line.split("; ");
        const at = pair.indexOf("=");
        if (attributes.includes("Max-Age=0")) jar.delete(pair.slice(0, at));
        else jar.set(pair.slice(0, at), pair.slice(at + 1));
      }
      own.answers.push(answer);
      return answer;
    },
  };
  own.client = createAuthClient({ baseURL: side.url, fetchOptions: { customFetchImpl: (url, options) => own.fetch(url, options) } });
  return own;
}

const PASSWORD = "correct horse battery";
const mail = (name) => `${name}@shop.example`;

async function signedUp(side, name) {
  const own = browser(side);
  const { error } = await own.client.signUp.email({ name, email: mail(name), password: PASSWORD });
  assert.equal(error, null);
  return own;
}

const bodyOf = async (base, cookie, path = "/api/auth/get-session", headers = {}) => {
  const answer = await fetch(base + path, { headers: { cookie, ...headers } });
  return { status: answer.status, text: await answer.text(), headers: answer.headers };
};

/** What holds whichever way the sessions are kept. */
async function judge(name, side) {
  const checks = new Checks(name);
  const check = (promise, run) => checks.check(promise, run);
  let alice;

  await check("somebody signs up through cloakroom, and better-auth's client knows who it is", async () => {
    alice = await signedUp(side, "alice");
    const { data } = await alice.client.getSession();
    assert.equal(data.user.email, mail("alice"));
    assert.equal((await browser(side).client.getSession()).data, null);
  });

  await check("a hundred at once are one call, and what they get is better-auth's own answer", async () => {
    const cookie = `${TOKEN}=${alice.jar.get(TOKEN)}`;
    const { text } = await bodyOf(side.direct, cookie, "/api/auth/get-session?disableRefresh=true");
    await sleep(TTL_MS);
    const before = side.checks;
    side.slow = 100;
    const all = await Promise.all(Array.from({ length: 100 }, () => bodyOf(side.url, cookie)));
    side.slow = 0;
    assert.equal(side.checks - before, 1);
    for (const { status, text: told } of all) {
      assert.equal(status, 200);
      const [one, other] = [JSON.parse(told), JSON.parse(text)];
      assert.deepEqual([one.user, one.session.id], [other.user, other.session.id]);
      assert.equal(told, all[0].text);
    }
    const hit = await bodyOf(side.url, cookie);
    assert.deepEqual([hit.headers.get("x-session-source"), hit.text], ["cache", all[0].text]);
  });

  await check("NextAuth's path is another name for it, and a proxy is told who it is", async () => {
    const before = side.checks;
    const cookie = alice.cookie();
    const { text } = await bodyOf(side.url, cookie);
    assert.equal((await bodyOf(side.url, cookie, "/api/auth/session")).text, text);
    const { status, headers } = await bodyOf(side.url, cookie, "/api/auth/verify");
    const { user, session } = JSON.parse(text);
    const told = ["user-id", "email", "name", "expires"].map((claim) => headers.get(`x-session-${claim}`));
    assert.deepEqual([status, ...told], [200, user.id, user.email, user.name, session.expiresAt]);
    assert.equal(side.checks - before, 0);
    assert.equal((await bodyOf(side.url, "", "/api/auth/verify")).status, 401);
  });

  await check("a cookie that is refreshed reaches its browser, and the session stays cached", async () => {
    await sleep(TTL_MS);
    const before = side.checks;
    const token = alice.jar.get(TOKEN);
    await alice.client.getSession();
    const set = alice.answers.at(-1).headers.getSetCookie();
    assert.ok(set.some((line) => line.startsWith(`${TOKEN}=`) && line.includes("Max-Age=604800")), `refreshed: ${set}`);
    assert.equal(alice.jar.get(TOKEN), token);
    for (let at = 0; at < 5; at += 1) {
      assert.equal((await alice.client.getSession()).data.user.email, mail("alice"));
      assert.deepEqual(alice.answers.at(-1).headers.getSetCookie(), []);
    }
    assert.equal(side.checks - before, 1);
  });

  await check("what its owner changes is seen at once", async () => {
    await alice.client.updateUser({ name: "Alicia" });
    const { data } = await alice.client.getSession();
    assert.equal(data.user.name, "Alicia");
  });

  await check("two users, interleaved and at once, never see each other", async () => {
    const bob = await signedUp(side, "bob");
    const cookies = { alice: alice.cookie(), bob: bob.cookie() };
    for (let round = 0; round < 5; round += 1) {
      await Promise.all(Object.entries(cookies).map(async ([who, cookie]) => {
        assert.equal(JSON.parse((await bodyOf(side.url, cookie)).text).user.email, mail(who));
      }));
    }
    // A bearer goes before the cookie for better-auth; whoever counts, nothing of it is kept for the other.
    const headers = { authorization: `Bearer ${decodeURIComponent(bob.jar.get(TOKEN))}` };
    for (let round = 0; round < 2; round += 1) {
      assert.equal(JSON.parse((await bodyOf(side.url, `${TOKEN}=${alice.jar.get(TOKEN)}`, undefined, headers)).text).user.email, mail("bob"));
      assert.equal(JSON.parse((await bodyOf(side.url, cookies.alice)).text).user.email, mail("alice"));
    }
    const before = side.checks;
    for (let round = 0; round < 3; round += 1) {
      assert.equal(JSON.parse((await bodyOf(side.url, "", undefined, headers)).text).user.email, mail("bob"));
    }
    assert.ok(side.checks - before <= 1, "a bearer alone is kept as well");
  });

  await check("the last good answer is shown while better-auth is down", async () => {
    const { data } = await alice.client.getSession();
    side.down = true;
    await sleep(TTL_MS);
    const stale = await bodyOf(side.url, alice.cookie());
    side.down = false;
    assert.deepEqual([stale.status, JSON.parse(stale.text).user.email], [200, data.user.email]);
    assert.match(stale.headers.get("cache-status"), /fwd=stale/);
  });

  await check("a sign-out in the middle of a hundred checks is final for every cookie", async () => {
    const kept = alice.cookie();
    side.slow = 60;
    const storm = Array.from({ length: 100 }, () => bodyOf(side.url, kept));
    const { data } = await alice.client.signOut();
    assert.equal(data.success, true);
    assert.equal(alice.jar.has(TOKEN), false);
    await Promise.all(storm);
    side.slow = 0;
    for (let at = 0; at < 20; at += 1) {
      const gone = await bodyOf(side.url, kept);
      assert.deepEqual([gone.text, gone.headers.get("x-session-source")], ["null", "cache"]);
    }
    assert.equal((await bodyOf(side.url, kept, "/api/auth/verify")).status, 401);
    assert.equal(side.rows.session.filter(({ token }) => decodeURIComponent(kept).includes(token)).length, 0);
  });

  await check("who has signed out signs in again, and is known", async () => {
    const { error } = await alice.client.signIn.email({ email: mail("alice"), password: PASSWORD });
    assert.equal(error, null);
    assert.equal((await alice.client.getSession()).data.user.email, mail("alice"));
  });
  return checks;
}

let all = [];
try {
  // Every check refreshes the cookie.
  const plain = await pair({ updateAge: 0 });
  all.push(await judge("better-auth", plain));

  const cached = await pair({ updateAge: 0, cookieCache: { enabled: true, maxAge: 300 } });
  const checks = new Checks("better-auth with its cookie cache");
  all.push(checks);
  await checks.check("what it keeps in a cookie outlives a sign-out there, and not here", async () => {
    const carol = await signedUp(cached, "carol");
    assert.equal((await carol.client.getSession()).data.user.email, mail("carol"));
    assert.ok(carol.jar.has("better-auth.session_data"));
    const kept = carol.cookie();
    const only = `better-auth.session_data=${carol.jar.get("better-auth.session_data")}`;
    assert.equal((await bodyOf(cached.url, only)).text, "null", "it is no session by itself");
    await carol.client.signOut();
    assert.equal(JSON.parse((await bodyOf(cached.direct, kept)).text).user.email, mail("carol"));
    assert.equal((await bodyOf(cached.url, kept)).text, "null");
  });
  await checks.check("the cookie of one browser is not another's, and its end is no sign-out", async () => {
    const dave = await signedUp(cached, "dave");
    await dave.client.getSession();
    const token = `${TOKEN}=${dave.jar.get(TOKEN)}`;
    for (const cookie of [token, dave.cookie(), `${token}; better-auth.session_data=broken`]) {
      await sleep(TTL_MS);
      assert.equal(JSON.parse((await bodyOf(cached.url, cookie)).text).user.email, mail("dave"));
      const hit = await bodyOf(cached.url, token);
      assert.deepEqual([hit.headers.get("x-session-source"), hit.headers.getSetCookie()], ["cache", []]);
    }
  });
} catch (error) {
  const failed = new Checks("better-auth");
  await failed.check("the run comes to its end", () => Promise.reject(error));
  all.push(failed);
} finally {
  for (const child of programs) child.kill("SIGTERM");
  await Promise.race([Promise.all(programs.map((child) => new Promise((done) => child.on("close", done)))), sleep(STOP_MS)]);
  for (const child of programs) if (child.exitCode === null) child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
}
finish(...all);
