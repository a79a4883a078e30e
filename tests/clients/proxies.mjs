// nginx, Caddy, Envoy and Traefik, with the very files that docs/recipes has, in front of cloakroom and an application that says what it was sent.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { webcrypto } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../ports.mjs";
import { Checks, eventually, finish, sleep } from "./checks.mjs";

const RECIPES = new URL("../../docs/recipes/", import.meta.url);
const COOKIE = "next-auth.session-token";
/** Session answers are kept for so long, so that a source that is down is noticed soon. */
const TTL_MS = 3_000;
const STOP_MS = 3_000;

const work = mkdtempSync(join(tmpdir(), "cloakroom-proxies-"));
const programs = [];

function start(command, args, onLine = () => {}) {
  // Where the binary lies is no setting of its own, and CLOAKROOM_* names settings.
  const { CLOAKROOM_BIN, ...env } = process.env;
  const child = spawn(command, args, { env: { ...env, HOME: work, XDG_DATA_HOME: work, XDG_CONFIG_HOME: work }, stdio: ["ignore", "pipe", "pipe"] });
  const program = { child, said: "", exited: new Promise((done) => child.on("close", done)) };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      program.said += text;
      text.split("\n").forEach(onLine);
    });
  }
  programs.push(program);
  return program;
}

async function stop() {
  for (const { child } of programs) child.kill("SIGTERM");
  const all = Promise.all(programs.map(({ exited }) => exited));
  await Promise.race([all, sleep(STOP_MS)]);
  for (const { child } of programs) if (child.exitCode === null) child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
}

/** The application: NextAuth as far as sessions go, and a page that says what it was sent. A token is `<user>.<number>` and rolls. */
const app = { down: false, checks: 0, port: 0 };
function serve(asked, answer) {
  const path = asked.url.split("?")[0];
  if (path === "/api/auth/session") {
    app.checks += 1;
    if (app.down) return answer.writeHead(500).end();
    const token = new RegExp(`${COOKIE}=([^;]*)`).exec(asked.headers.cookie ?? "")?.[1] ?? "";
    const [name, number] = token.split(".");
    if (!number) return answer.writeHead(200, { "content-type": "application/json" }).end("{}");
    const user = name === "zoe" ? { id: "7", name: "Zoë\r\nX-Role: admin", email: "zoe@shop.example" } : { name };
    const session = { user, expires: "2099-01-01T00:00:00.000Z" };
    answer.setHeader("set-cookie", `${COOKIE}=${name}.${Number(number) + 1}; Path=/; HttpOnly; SameSite=Lax`);
    return answer.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(session));
  }
  if (path === "/api/auth/signout") {
    answer.setHeader("set-cookie", `${COOKIE}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax`);
    return answer.writeHead(200, { "content-type": "application/json" }).end('{"url":"/signin"}');
  }
  let body = "";
  asked.on("data", (part) => (body += part));
  asked.on("end", () => {
    answer.setHeader("set-cookie", "app=1; Path=/");
    answer.end(JSON.stringify({ method: asked.method, url: asked.url, headers: asked.headers, body }));
  });
}

/** One request through a proxy. What the application says it was sent is `sent`, where it got there. */
function ask(port, path, { token, method = "GET", headers = {}, body } = {}) {
  const cookie = token ? { cookie: `a=b; ${COOKIE}=${token}` } : {};
  return new Promise((done, fail) => {
    const asked = request({ port, path, method, host: "127.0.0.1", agent: false, headers: { ...cookie, ...headers } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => (text += part));
      answer.on("end", () => {
        const sent = answer.statusCode === 200 && text.startsWith("{") ? JSON.parse(text) : undefined;
        done({ status: answer.statusCode, headers: answer.headers, text, sent });
      });
    });
    asked.on("error", fail);
    asked.end(body);
  });
}

/** The claims of X-Session, checked by the published keys. */
async function claimsOf(jws, keys) {
  const [header, claims, signature] = jws.split(".");
  const parsed = (part) => JSON.parse(Buffer.from(part, "base64url"));
  const jwk = keys.find(({ kid }) => kid === parsed(header).kid);
  assert.ok(jwk, "its key is published");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const key = await webcrypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
  const good = await webcrypto.subtle.verify(algorithm, key, Buffer.from(signature, "base64url"), Buffer.from(`${header}.${claims}`));
  assert.ok(good, "a good signature");
  return parsed(claims);
}

const FORGED = {
  "x-session": "forged",
  "x-session-user-id": "1",
  "x-session-email": "root@shop.example",
  "x-session-name": "root",
  "x-session-expires": "2100-01-01T00:00:00.000Z",
  "x-session-anything": "else",
};

/** The same for applications that read headers as variables, where any mark is as good as another. */
const ALIASES = {
  x_session: "forged",
  x_session_user_id: "1",
  "x-session_user-id": "1",
  "X_Session-User_Id": "1",
  x_session_email: "root@shop.example",
  "x_session-name": "root",
  x_session_expires: "2100-01-01T00:00:00.000Z",
  "x.session.user.id": "1",
  "x-session~email": "root@shop.example",
};

/** Another of them, which Caddy has no way to take out. */
const RARE = { "x~session~user~id": "1", "x!session": "forged" };

/** What an application of that kind is told of a session, as `[variable, values]`. */
function variables(headers) {
  const told = {};
  for (const [name, value] of Object.entries(headers)) {
    const variable = `HTTP_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`;
    if (variable.startsWith("HTTP_X_SESSION")) (told[variable] ??= []).push(value);
  }
  return told;
}

async function judge(name, port, cloakroom) {
  const checks = new Checks(name);
  const check = (promise, run) => checks.check(promise, run);
  const path = (end) => `/orders/${name}${end}`;
  let rolled;

  await check("who is signed in comes in with the claims, and what the client says of them is gone", async () => {
    const { status, sent, headers } = await ask(port, path("?id=7"), { token: `zoe.1`, headers: FORGED });
    assert.deepEqual([status, sent?.url], [200, path("?id=7")]);
    assert.equal(sent.headers["x-session-user-id"], "7");
    assert.equal(sent.headers["x-session-email"], "zoe@shop.example");
    assert.equal(decodeURIComponent(sent.headers["x-session-name"]), "Zoë\r\nX-Role: admin");
    assert.equal(sent.headers["x-session-expires"], "2099-01-01T00:00:00.000Z");
    assert.equal(sent.headers["x-role"], undefined);
    const { keys } = await (await fetch(`http://127.0.0.1:${cloakroom}/.well-known/jwks.json`)).json();
    const claims = await claimsOf(sent.headers["x-session"], keys);
    assert.deepEqual([claims.sub, claims.session.user.name], ["7", "Zoë\r\nX-Role: admin"]);
    assert.ok(claims.exp > Date.now() / 1000 && claims.exp <= Date.now() / 1000 + 60);
    rolled = headers["set-cookie"];
  });

  await check("the browser gets the rolled cookie beside the application's own", () => {
    assert.deepEqual(rolled?.toSorted(), ["app=1; Path=/", `${COOKIE}=zoe.2; Path=/; HttpOnly; SameSite=Lax`]);
  });

  await check("a claim that the session lacks is no header, whatever the client sends", async () => {
    const { sent } = await ask(port, path(""), { token: "bob.1", headers: FORGED });
    const told = Object.keys(sent.headers).filter((header) => header.startsWith("x-session"));
    const extra = ["nginx", "traefik"].includes(name) ? ["x-session-anything"] : [];
    assert.deepEqual(told.toSorted(), ["x-session", ...extra, "x-session-expires", "x-session-name"]);
    assert.equal(sent.headers["x-session-name"], "bob");
  });

  await check("no other way of writing a name is heard, on any path", async () => {
    const headers = { ...FORGED, ...ALIASES, ...(name === "caddy" ? {} : RARE) };
    const { sent } = await ask(port, path(""), { token: "zoe.1", headers });
    const told = variables(sent.headers);
    assert.deepEqual([told.HTTP_X_SESSION_USER_ID, told.HTTP_X_SESSION_EMAIL], [["7"], ["zoe@shop.example"]]);
    assert.ok(Object.values(told).every((values) => values.length === 1), JSON.stringify(told));
    for (const open of ["/signin", "/_next/static/a.js", "/api/auth/providers"]) {
      const { status, sent } = await ask(port, open, { headers });
      const { HTTP_X_SESSION_ANYTHING: _, ...told } = variables(sent.headers);
      assert.deepEqual([status, told], [200, {}], open);
    }
  });

  await check("the sign-in page alone is open, and nothing that begins like it", async () => {
    for (const like of ["/signin-as", "/signins", "/signin/as"]) {
      const { status, sent } = await ask(port, like);
      assert.deepEqual([status, sent], [name === "nginx" ? 302 : 401, undefined], like);
    }
  });

  await check("a body goes to the application and not to cloakroom", async () => {
    const body = "x".repeat(100_000);
    const { status, sent } = await ask(port, path(""), { token: "bob.2", method: "POST", body });
    assert.deepEqual([status, sent?.method, sent?.body.length], [200, "POST", body.length]);
  });

  await check("many at once are one call to NextAuth", async () => {
    const before = app.checks;
    const all = await Promise.all(Array.from({ length: 30 }, () => ask(port, path(""), { token: `crowd${name}.1` })));
    assert.ok(all.every(({ status, sent }) => status === 200 && sent.headers["x-session-name"] === `crowd${name}`));
    assert.equal(app.checks - before, 1);
  });

  await check("who is not signed in does not get to the application", async () => {
    for (const asked of [{ headers: FORGED }, { token: "nobody", headers: FORGED }]) {
      const { status, sent, headers } = await ask(port, path(""), asked);
      assert.equal(sent, undefined);
      if (name === "nginx") assert.deepEqual([status, headers.location], [302, "/signin"]);
      else assert.equal(status, 401);
    }
  });

  const leads = () =>
    check("a browser is led to the sign-in page, with the way back", async () => {
      const headers = { accept: "text/html", host: "shop.example" };
      const { status, headers: told } = await ask(port, path("?id=7"), { headers });
      assert.deepEqual([status, told.location], [302, `https://shop.example/signin?callbackUrl=/orders/${name}%3Fid%3D7`]);
    });
  // nginx takes cloakroom's own redirect for an error.
  if (name !== "nginx") await leads();

  await check("the sign-in page is open, and nobody is told to be there", async () => {
    const { status, sent } = await ask(port, "/signin", { headers: FORGED });
    assert.equal(status, 200);
    for (const header of Object.keys(FORGED).slice(0, -1)) assert.equal(sent.headers[header], undefined, header);
  });

  await check("no way of writing a path leads around the door", async () => {
    const ways = ["/_next/static/../..", "/_next/static/%2e%2e/.%2E", "/_next/static/..\\..", "/signin/..", "/", "/\\"];
    ways.push("/api/auth/../..", "/api/auth/%2e%2e/%2E.", "/api/auth/..\\..");
    for (const way of ways) {
      const { sent } = await ask(port, way + path(""));
      // What the application takes it for.
      const page = sent && new URL(sent.url, "http://app").pathname;
      assert.ok(!page || /^\/(_next\/static|api\/auth)\//.test(page), `${way} leads to ${page}`);
    }
  });

  await check("after a sign-out the next request is turned away", async () => {
    const token = `out${name}.1`;
    assert.equal((await ask(port, path(""), { token })).status, 200);
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const form = { token: `${token}; next-auth.csrf-token=good%7Chash`, method: "POST", headers, body: "csrfToken=good&json=true" };
    assert.equal((await ask(port, "/api/auth/signout", form)).text, '{"url":"/signin"}');
    const { sent, status } = await ask(port, path(""), { token });
    assert.deepEqual([status, sent], [name === "nginx" ? 302 : 401, undefined]);
  });

  await check("a source that is down is 503 for strangers, and who was in stays in", async () => {
    const token = `stays${name}.1`;
    assert.equal((await ask(port, path(""), { token })).status, 200);
    app.down = true;
    try {
      await sleep(TTL_MS);
      const stale = await ask(port, path(""), { token });
      assert.deepEqual([stale.status, stale.sent?.headers["x-session-name"]], [200, `stays${name}`]);
      const { status, headers, sent } = await ask(port, path(""), { token: `new${name}.1` });
      assert.deepEqual([status, headers["retry-after"], sent], [503, "1", undefined]);
    } finally {
      app.down = false;
    }
  });
  return checks;
}

/** A recipe with the addresses of this run in the place of its own. */
function recipe(name, addresses) {
  return replaced(name, readFileSync(new URL(name, RECIPES), "utf8"), addresses);
}

function replaced(name, text, addresses) {
  for (const [from, to] of Object.entries(addresses)) {
    assert.ok(text.includes(from), `${name} names ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** docs/verify.md's block for who has oauth2-proxy. */
function instead({ ":8080": _, ...addresses }) {
  const page = readFileSync(new URL("../verify.md", RECIPES), "utf8");
  return replaced("verify.md", page.match(/^```nginx\n(.*?)^```$/ms)[1], addresses);
}

async function judgeLike(port) {
  const checks = new Checks("oauth2-proxy's way");
  await checks.check("who is signed in comes in as its users do, and others do not", async () => {
    const headers = { "x-user": "1", "x-email": "root@shop.example" };
    const { status, sent } = await ask(port, "/orders/like", { token: "zoe.1", headers });
    assert.deepEqual([status, sent?.headers["x-user"], sent?.headers["x-email"]], [200, "7", "zoe@shop.example"]);
    const nobody = await ask(port, "/orders/like", { headers });
    assert.deepEqual([nobody.status, nobody.headers.location], [302, `http://127.0.0.1:${port}/signin`]);
  });
  return checks;
}

async function main() {
  const backend = createServer({ maxHeaderSize: 64 * 1024 }, serve);
  await new Promise((done) => backend.listen(0, "127.0.0.1", done));
  app.port = backend.address().port;

  let http;
  const args = ["--port", "0", "--http-port", "0", "--dir", work, "--fence-log", "no", "--upstream", `http://127.0.0.1:${app.port}`];
  args.push("--session-ttl", `${TTL_MS}ms`, "--profile", "nextauth", "--verify-redirect", "https://shop.example/signin", "--verify-headers", "x-auth-request");
  const cloakroom = start(process.env.CLOAKROOM_BIN, args, (line) => (http ??= line.match(/listening on \S+:(\d+) \(http\)/)?.[1]));
  await eventually("cloakroom listens", () => http ?? (cloakroom.child.exitCode !== null && assert.fail(cloakroom.said)));

  const like = await freePort();
  const ports = { nginx: await freePort(), caddy: await freePort(), envoy: await freePort(), traefik: await freePort() };
  const addresses = (port) => ({ "127.0.0.1:8379": `127.0.0.1:${http}`, "127.0.0.1:3000": `127.0.0.1:${app.port}`, ":8080": `:${port}` });
  const envoy = { "port_value: 8379": `port_value: ${http}`, "port_value: 3000": `port_value: ${app.port}`, "port_value: 8080": `port_value: ${ports.envoy}` };
  writeFileSync(join(work, "recipe.conf"), recipe("nginx.conf", addresses(ports.nginx)));
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${work}/${kind};`);
  writeFileSync(
    join(work, "nginx.conf"),
    `${process.getuid() === 0 ? "user root; " : ""}daemon off; pid ${work}/nginx.pid; error_log stderr; worker_processes 1; events {}
     http { access_log off; ${temporary.join(" ")} include ${work}/recipe.conf; server { listen 127.0.0.1:${like}; ${instead(addresses(like))} } }`,
  );
  writeFileSync(join(work, "Caddyfile"), `{\n\tadmin off\n}\n${recipe("Caddyfile", addresses(ports.caddy))}`);
  writeFileSync(join(work, "envoy.yaml"), recipe("envoy.yaml", envoy));
  const { ":8080": _, ...known } = addresses();
  // Not by its own name, by which Traefik would take it for its static configuration.
  writeFileSync(join(work, "dynamic.yaml"), recipe("traefik.yaml", known));
  const door = [`--entrypoints.web.address=127.0.0.1:${ports.traefik}`, "--entrypoints.web.http.aliasheadersstrategy=delete", `--providers.file.filename=${join(work, "dynamic.yaml")}`];
  start("traefik", [...door, "--global.checknewversion=false", "--global.sendanonymoususage=false"]);
  // Its hot restart would have all Envoys of this machine meet in one shared memory.
  start("envoy", ["-c", join(work, "envoy.yaml"), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"]);
  start("nginx", ["-p", work, "-e", "stderr", "-c", join(work, "nginx.conf")]);
  start("caddy", ["run", "--adapter", "caddyfile", "--config", join(work, "Caddyfile")]);

  const all = [];
  for (const [name, port] of Object.entries(ports)) {
    await eventually(`${name} listens`, () => ask(port, "/signin").then(() => true, () => false), 20_000).catch((error) => {
      throw new Error(`${error.message}\n${programs.map(({ said }) => said).join("\n")}`);
    });
    all.push(await judge(name, port, http));
  }
  all.push(await judgeLike(like));
  return all;
}

let all = [];
try {
  all = await main();
} catch (error) {
  const failed = new Checks("proxies");
  await failed.check("the run comes to its end", () => Promise.reject(error));
  all = [failed];
} finally {
  await stop();
}
finish(...all);
