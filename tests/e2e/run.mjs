// The whole way once, on real things: a production build of the example apps (NextAuth v4, Auth.js v5), the cloakroom binary given by
// CLOAKROOM_BIN, and Debian's Chromium. Each app is walked through twice, with and without cloakroom, and the figures are compared.
//
//   CLOAKROOM_BIN   the binary (required)
//   CHROMIUM        the browser (/usr/bin/chromium)
//   E2E_DIR         where installs and builds are kept between runs (target/e2e)

import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { check, verdict } from "./checks.mjs";
import { exchangeTokens } from "./decoded.mjs";
import { LOGINS, load, walk } from "./flow.mjs";
import { askOfABearer, lookAtThePage } from "./page.mjs";
import { freePort } from "../ports.mjs";
import { killAll, stop, stopAll } from "./processes.mjs";
import { RATE_LIMIT, buildApp, install, startApp, startCloakroom } from "./servers.mjs";

/** Everything together, first installs and builds included. */
const RUN_LIMIT_MS = 20 * 60_000;
/** Cloakroom's TTL for session answers: NextAuth is asked at most once per this time and login. */
const SESSION_TTL_MS = 5_000;

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, "../..");
const WORK = resolve(process.env.E2E_DIR ?? join(ROOT, "target/e2e"));

/** What differs between the two NextAuths; everything else in this directory is common to both. */
const PROFILES = [
  {
    name: "NextAuth v4",
    slug: "v4",
    setting: "nextauth",
    app: "nextjs",
    cookie: "next-auth.session-token",
    signedOut: "{}",
    urlSetting: "NEXTAUTH_URL",
    secretSetting: "NEXTAUTH_SECRET",
  },
  {
    name: "Auth.js v5",
    slug: "v5",
    setting: "authjs",
    app: "nextjs-v5",
    cookie: "authjs.session-token",
    signedOut: "null",
    urlSetting: "AUTH_URL",
    secretSetting: "AUTH_SECRET",
  },
];

/** Files the two examples share word for word; all others are about their NextAuth. */
const SHARED = [
  "next.config.mjs",
  "tsconfig.json",
  "app/api/counters/route.ts",
  "app/dashboard/page.tsx",
  "app/globals.css",
  "app/layout.tsx",
  "app/page.tsx",
  "app/providers.tsx",
  "app/signin/page.tsx",
  "components/dashboard-layout.tsx",
  "components/logout-button.tsx",
  "components/navigation.tsx",
  "components/session-check.ts",
  "lib/counters.ts",
  "lib/handed-session.ts",
  "lib/rate-limit.ts",
  "middleware.ts",
];

const CHROMIUM_FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

async function main() {
  const binary = process.env.CLOAKROOM_BIN;
  if (!binary) throw new Error("set CLOAKROOM_BIN to the cloakroom binary");
  const pictures = await mkdtemp(join(tmpdir(), "cloakroom-e2e-"));

  await theExamplesAgree();
  const dirs = await timed("install and build", () =>
    Promise.all([...PROFILES.map(({ app }) => buildApp(join(ROOT, "examples", app), join(WORK, app))), install(HERE)]),
  );
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: CHROMIUM_FLAGS,
    // Signals are answered below, once and for all processes.
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  try {
    const shoot = (page, what) => page.screenshot({ path: join(pictures, `${what}.png`) });
    await timed("a bearer on the live page", () => askOfABearer({ browser, binary: resolve(binary), shoot }));
    for (const [i, profile] of PROFILES.entries()) {
      const shoot = (mode) => (page, what) => page.screenshot({ path: join(pictures, `${profile.slug}-${mode}-${what}.png`) });
      const run = { browser, profile, dir: dirs[i] };
      const direct = await timed(`${profile.name}, direct`, () => walkDirect({ ...run, shoot: shoot("direct") }));
      const fronted = await timed(`${profile.name}, through cloakroom`, () =>
        walkFronted({ ...run, binary: resolve(binary), shoot: shoot("cloakroom") }),
      );
      compare(profile, direct, fronted);
      judgeDirect(direct);
      judgeFronted(profile, fronted);
      const handed = await timed(`${profile.name}, pages that come with their session`, () =>
        walkFronted({ ...run, binary: resolve(binary), shoot: shoot("handed"), handsSessions: true }),
      );
      judgeHanded(handed);
      await timed(`${profile.name}, tokens decoded by cloakroom`, () => exchangeTokens({ profile, dir: dirs[i], binary: resolve(binary) }));
    }
  } finally {
    await browser.close();
  }
  console.log(`\nscreenshots: ${pictures}`);
}

async function theExamplesAgree() {
  const differing = [];
  for (const path of SHARED) {
    const [a, b] = await Promise.all(PROFILES.map(({ app }) => readFile(join(ROOT, "examples", app, path))));
    if (!a.equals(b)) differing.push(path);
  }
  check("both examples share their common files", differing.length === 0, differing.join(" "));
}

async function walkDirect({ browser, profile, dir, shoot }) {
  const app = await startApp({ dir, profile, port: await freePort(), cloakroom: null });
  try {
    const seen = await walk({ browser, origin: app.origin, profile, shoot });
    return { ...seen, counters: await readCounters(app) };
  } finally {
    await stop(app.program);
  }
}

async function walkFronted({ browser, profile, dir, binary, shoot, handsSessions = false }) {
  // Cloakroom is started first, for an app that is not there yet: it has to bear that.
  const port = await freePort();
  const cloakroom = await startCloakroom(binary, ["--upstream", `http://127.0.0.1:${port}`]);
  try {
    const app = await startApp({ dir, profile, port, cloakroom: cloakroom.origin, handsSessions });
    try {
      const seen = await (handsSessions ? load : walk)({ browser, origin: app.origin, profile, shoot });
      if (!handsSessions) await lookAtThePage({ browser, origin: cloakroom.origin, token: seen.logins.at(-1).token, shoot });
      return { ...seen, counters: await readCounters(app) };
    } finally {
      await stop(app.program);
    }
  } finally {
    await stop(cloakroom.program);
  }
}

async function readCounters(app) {
  return (await fetch(`${app.origin}/api/counters`)).json();
}

function compare(profile, direct, fronted) {
  const rows = [
    ["browser session checks", (r) => r.checks],
    ["  answered from the cache", (r) => r.sources.cache ?? 0],
    ["calls that reached NextAuth", (r) => sum(r.counters.reached)],
    ["  session checks among them", (r) => r.counters.reached["GET session"] ?? 0],
    ["calls refused with 429", (r) => r.refused],
    ["sign-ins that succeeded", (r) => `${succeeded(r)}/${LOGINS}`],
    ["log-outs that succeeded", (r) => `${r.logins.filter((l) => l.loggedOut).length}/${LOGINS}`],
    ["  copied token dead afterwards", (r) => `${r.logins.filter((l) => l.loggedOut && copiesAreDead(profile, l)).length}/${LOGINS}`],
  ];
  console.log(`\n${profile.name}, at most ${RATE_LIMIT} calls a minute`.padEnd(40) + "direct".padStart(10) + "cloakroom".padStart(12));
  for (const [name, of] of rows) console.log(`  ${name.padEnd(37)}${String(of(direct)).padStart(10)}${String(of(fronted)).padStart(12)}`);
}

function judgeDirect(run) {
  check("direct: the limiter does refuse, so that none refused means something", run.refused > 0, run.refused);
  check("direct: a sign-in fails for it", succeeded(run) < LOGINS, `${succeeded(run)}/${LOGINS} succeeded`);
}

function judgeFronted(profile, run) {
  const { counters, logins } = run;
  const { reached } = counters;
  const all = (promise, of) => check(promise, logins.every(of), failures(logins, of));
  check("a wrong password is refused and said to be", run.wrongPassword.told && !run.wrongPassword.cookie);
  all("every sign-in succeeds", (l) => l.signedIn);
  check("nothing is refused with 429", run.refused === 0 && counters.limited === 0, `${run.refused} seen, ${counters.limited} sent`);
  check("answers come from the cache and from NextAuth", run.sources.cache > 0 && run.sources.nextauth > 0, JSON.stringify(run.sources));
  check("every session check says where its answer came from", !run.sources.none, run.sources.none ?? 0);
  // Until a cookie has told which library answers, a check without one is asked of it: once, for its empty body.
  const empty = reached["GET session"] - counters.checks.length;
  check("NextAuth produced a session for each check that reached it, but for the one that told its kind", empty === 0 || empty === 1, empty);
  theSourceIsAskedOncePerTtl(counters.checks, logins);
  check("the session still rolls", logins[0].rolled === true);
  all("the log-out button leads to the sign-in page", (l) => l.loggedOut);
  const signouts = reached["POST signout"] ?? 0;
  check("the bare sign-out call is answered by cloakroom, signOut() by NextAuth", signouts === LOGINS, signouts);
  all("after it the session cookie is gone", (l) => l.cookieAfter === null);
  all(`after it the session is ${profile.signedOut}`, (l) => l.bodyAfter === profile.signedOut);
  all("after it both tabs are signed out", (l) => l.tabsAfter.every((signedIn) => !signedIn));
  all("a copied token is dead after log-out", (l) => copiesAreDead(profile, l));
  check("no page threw an error", run.pageErrors.length === 0, run.pageErrors.join("; "));
}

/** Where middleware asks before a page is made. */
function judgeHanded({ loads, counters, ...seen }) {
  check("handed: a page load makes no call to /api/auth", loads.every(({ asked }) => !asked.length), loads.map(({ asked }) => asked.length).join(" "));
  check("handed: the page greets the person", seen.signedIn && loads.every(({ greeted, who }) => greeted && who === "alice"));
  const allowed = Math.floor(seen.lifeMs / SESSION_TTL_MS) + 1;
  check("handed: NextAuth is asked at most once per 5 s", counters.checks.length >= 1 && counters.checks.length <= allowed, `${counters.checks.length} of ${allowed}`);
  check("handed: the session still rolls", seen.rolled);
  check("handed: the log-out button leads to the sign-in page", seen.loggedOut);
  check("handed: afterwards the dashboard does, too", seen.strangersSee === "/signin", seen.strangersSee);
  check("handed: a session that the client makes up is none", seen.forged === 307, seen.forged);
  check("handed: no page threw an error", seen.pageErrors.length === 0, seen.pageErrors.join("; "));
}

/** Calls are a TTL apart, so a login of some length fits only so many. */
function theSourceIsAskedOncePerTtl(checks, logins) {
  const names = [...new Set(checks.map(({ login }) => login))];
  const asked = names.map((name) => checks.filter(({ login }) => login === name).length);
  const allowed = logins.map(({ lifeMs }) => Math.floor(lifeMs / SESSION_TTL_MS) + 1);
  check("each login asked NextAuth", names.length === LOGINS, names.length);
  check("at most once per 5 s", asked.every((n, i) => n <= allowed[i]), `asked ${asked.join(" ")}, allowed ${allowed.join(" ")}`);
}

function failures(logins, of) {
  const bad = logins.flatMap((login, i) => (of(login) ? [] : [i + 1]));
  return bad.length ? `not in login ${bad.join(", ")}` : `${logins.length}/${logins.length}`;
}

function copiesAreDead(profile, login) {
  return login.replayed.length > 0 && login.replayed.every((body) => body === profile.signedOut);
}

function succeeded(run) {
  return run.logins.filter(({ signedIn }) => signedIn).length;
}

function sum(counts) {
  return Object.values(counts).reduce((total, n) => total + n, 0);
}

async function timed(what, work) {
  const begun = Date.now();
  console.log(`\n${what} …`);
  const result = await work();
  console.log(`  took ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  return result;
}

function giveUp(why) {
  console.error(why);
  killAll();
  check(why, false);
  process.exit(verdict());
}

setTimeout(() => giveUp(`the run took longer than ${RUN_LIMIT_MS / 60_000} minutes`), RUN_LIMIT_MS).unref();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => giveUp(`stopped by ${signal}`));
try {
  await main();
} catch (error) {
  check("the run came to its end", false, error.stack);
} finally {
  await stopAll();
}
process.exit(verdict());
