// The live page as a person sees it: on a desk in the light, on a phone in the dark, and by the keyboard alone.

import { createServer } from "node:http";
import { check } from "./checks.mjs";
import { stop } from "./processes.mjs";
import { startCloakroom } from "./servers.mjs";

const LOOKS = [
  { name: "light", colorScheme: "light", viewport: { width: 1280, height: 900 } },
  { name: "dark, on a phone", colorScheme: "dark", viewport: { width: 390, height: 844 }, isMobile: true },
];
const LIMIT_MS = 20_000;

/** Opens the live page of a cloakroom that has answered checks, one of them with this token. */
export async function lookAtThePage({ browser, origin, token, shoot }) {
  const papers = [];
  for (const { name, ...look } of LOOKS) {
    const context = await browser.newContext(look);
    try {
      const page = await context.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(String(error)));
      page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
      const asked = [];
      page.on("request", (request) => asked.push(new URL(request.url())));
      await page.goto(`${origin}/`);
      await page.waitForFunction(() => document.querySelectorAll("#c-checks path").length > 0, null, { timeout: LIMIT_MS });
      const text = (id) => page.locator(`#${id}`).innerText();
      check(`page, ${name}: it is live and shows its figures`, (await text("state")) === "live" && /^\d/.test(await text("t-saved")), await text("t-saved"));
      const charts = await page.locator("svg[role=img]").evaluateAll((all) => all.map((svg) => svg.getAttribute("aria-label")));
      check(`page, ${name}: each chart says in words what it shows`, charts.length === 5 && charts.every((label) => /\d/.test(label ?? "")), charts.join(" | "));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(`page, ${name}: nothing sticks out sideways`, wide <= 0, wide);

      await page.locator("#token").focus();
      await page.keyboard.type(token);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.querySelector("#told").textContent !== "", null, { timeout: LIMIT_MS });
      const told = await text("told");
      check(`page, ${name}: a token's story is told by keyboard, without the token`, told.includes("signed out") && !told.includes(token), told.slice(0, 120));

      await page.locator("#pause").focus();
      await page.keyboard.press("Enter");
      const before = await text("about");
      await page.waitForTimeout(1_500);
      check(`page, ${name}: it can be held still`, (await text("about")) === before && (await page.getAttribute("#pause", "aria-pressed")) === "true");
      check(`page, ${name}: no error, and nothing is fetched from elsewhere`, errors.length === 0 && asked.every((url) => url.origin === origin || url.protocol === "data:"), errors.join("; "));
      papers.push(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor));
      await shoot(page, `page-${look.colorScheme}`);
    } finally {
      await context.close();
    }
  }
  check("page: light and dark differ", papers[0] !== papers[1], papers.join(" "));
}

/** Pastes what shows a bearer into the live page of a cloakroom whose sessions are asked for by one. */
export async function askOfABearer({ browser, binary, shoot }) {
  const token = "opaque.canary-7";
  const application = createServer((request, response) => {
    const known = request.headers.authorization === `Bearer ${token}`;
    response.writeHead(known ? 200 : 401, { "content-type": "application/json" });
    response.end(known ? '{"id":"7","name":"Ada"}' : "{}");
  });
  await new Promise((listens) => application.listen(0, "127.0.0.1", listens));
  const settings = ["--profile", "generic", "--session-path", "/me", "--session-ttl", "60s"];
  const cloakroom = await startCloakroom(binary, [...settings, "--upstream", `http://127.0.0.1:${application.address().port}`]);
  const context = await browser.newContext(LOOKS[0]);
  try {
    const answer = await fetch(`${cloakroom.origin}/me`, { headers: { authorization: `Bearer ${token}` } });
    check("bearer: a check of it is answered", answer.status === 200, answer.status);
    const page = await context.newPage();
    await page.goto(`${cloakroom.origin}/`);
    for (const pasted of [token, `Bearer ${token}`, `Authorization: Bearer ${token}`]) {
      await page.locator("#told").evaluate((told) => told.replaceChildren());
      await page.locator("#token").fill(pasted);
      await page.locator("#story button").click();
      await page.waitForFunction(() => document.querySelector("#told").textContent !== "", null, { timeout: LIMIT_MS });
      const told = await page.locator("#told").innerText();
      const isTold = told.includes("A session is stored") && told.includes("not known here") && !told.includes(token);
      check(`bearer: its story is told of "${pasted.replace(token, "…")}"`, isTold, told.slice(0, 160));
    }
    await shoot(page, "page-bearer");
  } finally {
    await context.close();
    await stop(cloakroom.program);
    application.close();
  }
}
