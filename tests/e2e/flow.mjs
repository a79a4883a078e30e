// One person in one browser: signs in, opens a second tab, reloads, logs out, and all that again a few times. The same steps with
// and without cloakroom; this file looks and counts, and leaves judging to run.mjs.

import { setTimeout as sleep } from "node:timers/promises";

export const LOGINS = 5;
const RELOADS = 2;
/** A little more than a session answer is kept, so that the next check must ask NextAuth again. */
const PAST_TTL_MS = 5_500;
/** For a page to show what it has to; the slowest thing behind it takes a tenth of a second. */
const PAGE_LIMIT_MS = 15_000;
/** For another tab to hear of a log-out, and for a page's last requests to come home. */
const SETTLE_MS = 500;

const SIGNED_IN = '#dashboard[data-state="signed-in"]';
/** Where a dashboard load can end. The sign-in page appears when the check says "signed out". */
const DASHBOARD_ENDS = `${SIGNED_IN}, #dashboard[data-state="refused"], input[name="password"]`;
/** Where NextAuth's client goes by itself when a call of its own is refused. */
const ERROR_PAGE = /\/api\/auth\/|[?]error=/;

/** Walks the flow on `origin`; `shoot(page, name)` takes a picture. Returns what was seen. */
export async function walk({ browser, origin, profile, shoot }) {
  const seen = { checks: 0, refused: 0, sources: {}, logins: [], wrongPassword: null, pageErrors: [] };
  const context = await browser.newContext({ baseURL: origin, viewport: { width: 900, height: 600 } });
  context.setDefaultTimeout(PAGE_LIMIT_MS);
  context.on("response", (response) => count(seen, response));
  context.on("weberror", (event) => seen.pageErrors.push(String(event.error())));
  try {
    seen.wrongPassword = await signInWronglyOnce(context, profile, shoot);
    for (let turn = 1; turn <= LOGINS; turn++) seen.logins.push(await login({ context, origin, profile, shoot, turn }));
  } finally {
    await context.close();
  }
  return seen;
}

function count(seen, response) {
  const path = new URL(response.url()).pathname;
  if (!path.startsWith("/api/auth/")) return;
  if (response.status() === 429) seen.refused += 1;
  if (path !== "/api/auth/session" || response.request().method() !== "GET") return;
  seen.checks += 1;
  const source = response.headers()["x-session-source"] ?? "none";
  seen.sources[source] = (seen.sources[source] ?? 0) + 1;
}

async function signInWronglyOnce(context, profile, shoot) {
  const page = await context.newPage();
  await submit(page, "wrong");
  const told = await page.locator("p[role=alert]").waitFor().then(() => true, () => false);
  await shoot(page, "wrong-password");
  const cookie = await sessionToken(context, profile);
  await page.close();
  return { told, cookie };
}

async function login({ context, origin, profile, shoot, turn }) {
  const first = await context.newPage();
  const begun = Date.now();
  const result = { signedIn: await signIn(first) };

  const issued = await sessionToken(context, profile);
  const second = await context.newPage();
  await dashboard(second);
  for (let i = 0; i < RELOADS; i++) await Promise.all([reload(first), reload(second)]);
  if (turn === 1) {
    await shoot(first, "dashboard");
    const before = await sessionToken(context, profile);
    await sleep(PAST_TTL_MS);
    await reload(first);
    await sleep(SETTLE_MS);
    result.rolled = (await sessionToken(context, profile)) !== before;
  }
  const newest = await sessionToken(context, profile);

  result.token = newest;
  result.loggedOut = await logOut(first);
  result.lifeMs = Date.now() - begun;
  await sleep(SETTLE_MS);
  if (turn === 1) await shoot(first, "logged-out");
  result.cookieAfter = await sessionToken(context, profile);
  result.bodyAfter = await (await context.request.get("/api/auth/session")).text();
  result.tabsAfter = [await dashboard(first), await dashboard(second)];
  if (turn === 1) await shoot(second, "second-tab-after-logout");

  // What a thief with a copy of the cookie would get. The token handed out at sign-in and the newest one are the same login.
  result.replayed = [];
  for (const token of new Set([issued, newest].filter(Boolean))) result.replayed.push(await replay(origin, profile, token));
  await Promise.all([first.close(), second.close()]);
  return result;
}

async function submit(page, password) {
  await page.goto("/signin");
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** True when the dashboard greets the person. When a call on the way is refused, NextAuth's client ends in one of the other places. */
async function signIn(page) {
  await submit(page, "secret");
  const ends = [
    page.locator(`${SIGNED_IN}, #dashboard[data-state="refused"], p[role=alert]`).first().waitFor(),
    page.waitForURL(ERROR_PAGE),
  ];
  await Promise.any(ends).catch(() => {});
  return page.locator(SIGNED_IN).isVisible();
}

/** Opens the dashboard and says where that ended. */
async function dashboard(page) {
  await page.goto("/dashboard").catch(ignoreOvertaken);
  return whereDashboardEnds(page);
}

async function reload(page) {
  await page.reload().catch(ignoreOvertaken);
  return whereDashboardEnds(page);
}

async function whereDashboardEnds(page) {
  await Promise.any([page.locator(DASHBOARD_ENDS).first().waitFor(), page.waitForURL(ERROR_PAGE)]).catch(() => {});
  await page.locator('nav[aria-busy="true"]').waitFor({ state: "detached" }).catch(() => {});
  return page.locator(SIGNED_IN).isVisible();
}

/** The page's own redirect may overtake the load that was asked for. Anything else is a failure. */
function ignoreOvertaken(error) {
  if (!/interrupted by another navigation|net::ERR_ABORTED/.test(error.message)) throw error;
}

/** Presses the five-step button; true when it led to the sign-in page. */
async function logOut(page) {
  const button = page.getByRole("button", { name: "Log out" });
  if (!(await button.isVisible())) return false;
  await page.bringToFront(); // a browser gives hidden tabs less time
  await button.click();
  await Promise.any([page.waitForURL("**/signin"), page.locator("nav [role=alert]").waitFor()]).catch(() => {});
  return new URL(page.url()).pathname === "/signin";
}

/** The session cookie's value as the browser holds it, chunks included; null when there is none. */
async function sessionToken(context, profile) {
  const cookies = (await context.cookies()).filter(({ name }) => name.startsWith(profile.cookie));
  return cookies.map(({ value }) => value).join("") || null;
}

async function replay(origin, profile, token) {
  const answer = await fetch(`${origin}/api/auth/session`, { headers: { cookie: `${profile.cookie}=${token}` } });
  return (await answer.text()).trim();
}
