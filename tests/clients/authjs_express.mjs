// The real Auth.js in Express behind cloakroom with `base-path`: under /auth, as its documents mount it, and under a path like
// that of a Next app with a basePath; and the same tokens decoded here with its secret, while the application is away.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExpressAuth } from "@auth/express";
import Credentials from "@auth/express/providers/credentials";
import express from "express";
import { Checks, eventually, finish, sleep } from "./checks.mjs";

const SECRET = "a secret that is only for this test, and long enough";
const STOP_MS = 3_000;
const TOKEN = "authjs.session-token";

const work = mkdtempSync(join(tmpdir(), "cloakroom-authjs-"));
const secretFile = join(work, "secret");
writeFileSync(secretFile, `${SECRET}\n`, { mode: 0o600 });
const programs = [];

/** Where a cloakroom with these settings listens. */
async function cloakroom(...settings) {
  // Where the binary lies is no setting of its own, and CLOAKROOM_* names settings.
  const { CLOAKROOM_BIN, ...env } = process.env;
  const args = ["--port", "0", "--http-port", "0", "--dir", work, "--fence-log", "no", "--profile", "authjs", ...settings];
  const child = spawn(CLOAKROOM_BIN, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  programs.push(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const port = () => said.match(/listening on \S+:(\d+) \(http\)/)?.[1];
  await eventually("cloakroom listens", () => port() ?? (child.exitCode !== null && assert.fail(said)));
  return `http://127.0.0.1:${port()}`;
}

/** Auth.js under this path, and how often it was asked for a session. */
async function application(base) {
  const app = express();
  const side = { checks: 0 };
  app.use((request, response, next) => {
    side.checks += request.method === "GET" && request.path === `${base}/session`;
    next();
  });
  const authorize = ({ name }) => ({ id: `id-${name}`, name, email: `${name}@shop.example` });
  app.use(base, ExpressAuth({
    secret: SECRET,
    trustHost: true,
    providers: [Credentials({ credentials: { name: {} }, authorize })],
  }));
  const server = createServer(app);
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  side.url = `http://127.0.0.1:${server.address().port}`;
  return side;
}

/** A browser with cookies of its own, at this address. */
function browser(url, base) {
  const jar = new Map();
  const cookie = () => [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
  const own = {
    jar,
    cookie,
    async ask(action, options = {}) {
      const headers = { cookie: cookie(), ...options.headers };
      const answer = await fetch(`${url}${base}/${action}`, { redirect: "manual", ...options, headers });
      for (const line of answer.headers.getSetCookie()) {
        const [pair, ...attributes] = line.split("; ");
        const at = pair.indexOf("=");
        const isGone = attributes.some((one) => one === "Max-Age=0" || one.startsWith("Expires=Thu, 01 Jan 1970"));
        if (isGone || pair.length === at + 1) jar.delete(pair.slice(0, at));
        else jar.set(pair.slice(0, at), pair.slice(at + 1));
      }
      return answer;
    },
    /** A form of Auth.js' own pages, with the csrf token that they have. */
    async send(action, fields) {
      const { csrfToken } = await (await own.ask("csrf")).json();
      const headers = { "x-auth-return-redirect": "1", origin: url };
      return own.ask(action, { method: "POST", headers, body: new URLSearchParams({ csrfToken, ...fields }) });
    },
    session: async () => (await own.ask("session")).json(),
  };
  return own;
}

const from = (answer) => answer.headers.get("x-session-source");

/** What holds wherever Auth.js is mounted. */
async function judge(base) {
  const checks = new Checks(`Auth.js under ${base}`);
  const check = (promise, run) => checks.check(promise, run);
  const app = await application(base);
  const url = await cloakroom("--upstream", app.url, "--base-path", base);
  const alice = browser(url, base);

  await check("somebody signs in through cloakroom, on Auth.js' own routes", async () => {
    assert.match(await (await alice.ask("signin")).text(), new RegExp(`action="${url}${base}/callback/credentials"`));
    const answer = await alice.send("callback/credentials", { name: "alice" });
    assert.equal(answer.status, 200);
    assert.ok(alice.jar.has(TOKEN));
  });

  await check("a hundred at once are one call, and a proxy is told who it is", async () => {
    const kept = alice.cookie();
    const headers = { cookie: kept };
    const asked = Array.from({ length: 100 }, () => fetch(`${url}${base}/session`, { headers }));
    const bodies = await Promise.all((await Promise.all(asked)).map((answer) => answer.json()));
    for (const { user } of bodies) assert.deepEqual(user, { name: "alice", email: "alice@shop.example" });
    assert.equal(from(await fetch(`${url}${base}/session`, { headers })), "cache");
    const verified = await fetch(`${url}${base}/verify`, { headers });
    assert.deepEqual([verified.status, verified.headers.get("x-session-email")], [200, "alice@shop.example"]);
    assert.equal(app.checks, 1);
    assert.equal((await fetch(`${url}/api/auth/session`, { headers })).status, 404);
  });

  await check("a sign-out is final for every copy of the cookie", async () => {
    const headers = { cookie: alice.cookie() };
    const answer = await alice.send("signout", {});
    assert.deepEqual([answer.status, alice.jar.has(TOKEN)], [200, false]);
    const gone = await fetch(`${url}${base}/session`, { headers });
    assert.deepEqual([await gone.text(), from(gone)], ["null", "cache"]);
    assert.equal((await fetch(`${url}${base}/verify`, { headers })).status, 401);
    assert.equal(app.checks, 1);
  });

  await check("she signs in again, and out on every device", async () => {
    await alice.send("callback/credentials", { name: "alice" });
    assert.equal((await alice.session()).user.name, "alice");
    const headers = { cookie: alice.cookie() };
    const answer = await alice.send("signout-everywhere", {});
    assert.equal((await answer.json()).success, true);
    assert.equal(await (await fetch(`${url}${base}/session`, { headers })).text(), "null");
  });

  await check("its tokens are decoded here without it, and its sign-out works", async () => {
    const alone = browser(await cloakroom("--source", "nextauth", "--secret-file", secretFile, "--base-path", base), base);
    const direct = browser(app.url, base);
    await direct.send("callback/credentials", { name: "bob" });
    alone.jar.set(TOKEN, direct.jar.get(TOKEN));
    const answer = await alone.ask("session");
    assert.deepEqual([from(answer), (await answer.json()).user.name], ["nextauth", "bob"]);
    const headers = { cookie: alone.cookie() };
    const out = await alone.send("signout", {});
    assert.deepEqual([out.status, alone.jar.has(TOKEN)], [200, false]);
    assert.equal(await (await alone.ask("session", { headers })).text(), "null");
  });
  return checks;
}

let all = [];
try {
  for (const base of ["/auth", "/docs/api/auth"]) all.push(await judge(base));
} catch (error) {
  const failed = new Checks("Auth.js");
  await failed.check("the run comes to its end", () => Promise.reject(error));
  all.push(failed);
} finally {
  for (const child of programs) child.kill("SIGTERM");
  await Promise.race([Promise.all(programs.map((child) => new Promise((done) => child.on("close", done)))), sleep(STOP_MS)]);
  for (const child of programs) if (child.exitCode === null) child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
}
finish(...all);
