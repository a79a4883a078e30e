// Tokens of the real libraries, decoded by cloakroom without asking anybody; and those that it makes, taken by the libraries.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check } from "./checks.mjs";
import { freePort } from "../ports.mjs";
import { stop } from "./processes.mjs";
import { secretOf, startApp, startCloakroom } from "./servers.mjs";

/** The session's end is told to the millisecond, and the two are asked one after the other. */
const EXPIRES_WITHIN_MS = 10_000;

/** Cookies as a browser keeps them: by name, deleted when told so. */
class Jar {
  cookies = new Map();

  keep(response) {
    for (const line of response.headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(";");
      const at = pair.indexOf("=");
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
      if (attributes.some((a) => a.trim() === "Max-Age=0")) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return response;
  }

  copy() {
    const jar = new Jar();
    jar.cookies = new Map(this.cookies);
    return jar;
  }

  get header() {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }
}

async function ask(origin, path, jar, form) {
  const post = form && { method: "POST", body: new URLSearchParams(form) };
  const headers = { cookie: jar.header, ...(form && { "x-auth-return-redirect": "1" }) };
  return jar.keep(await fetch(origin + path, { ...post, headers, redirect: "manual" }));
}

async function text(origin, path, jar) {
  return (await ask(origin, path, jar)).text();
}

async function csrf(origin, jar) {
  return JSON.parse(await text(origin, "/api/auth/csrf", jar)).csrfToken;
}

export async function exchangeTokens({ profile, dir, binary }) {
  const here = await mkdtemp(join(tmpdir(), "cloakroom-secret-"));
  const file = join(here, "secret");
  await writeFile(file, `${secretOf(dir)}\n`, { mode: 0o600 });
  const app = await startApp({ dir, profile, port: await freePort(), cloakroom: null });
  const args = ["--source", "nextauth", "--secret-file", file, "--profile", profile.setting];
  const cloakroom = await startCloakroom(binary, args);
  try {
    await compare(profile, app.origin, cloakroom.origin);
  } finally {
    await stop(cloakroom.program);
    await stop(app.program);
    await rm(here, { recursive: true });
  }
}

async function compare({ cookie, signedOut }, app, cloakroom) {
  const session = "/api/auth/session";
  const jar = new Jar();
  const csrfToken = await csrf(app, jar);
  await ask(app, "/api/auth/callback/credentials", jar, { csrfToken, username: "alice", password: "secret", json: "true" });
  check("the app signs in", jar.cookies.has(cookie));

  // Each is shown the same token.
  const [theirs, ours] = [jar.copy(), jar.copy()];
  const [said, told] = [await text(app, session, theirs), await text(cloakroom, session, ours)];
  const [end, toldEnd] = [said, told].map((body) => Date.parse(JSON.parse(body).expires));
  const without = (body) => body.replace(/"expires":"[^"]*"/, "");
  check("cloakroom says of the app's token what the app says", without(told) === without(said), `${told} and ${said}`);
  check("and of its end", Math.abs(end - toldEnd) < EXPIRES_WITHIN_MS, `${toldEnd} and ${end}`);
  check("each has rolled the token", new Set([jar, theirs, ours].map((j) => j.cookies.get(cookie))).size === 3);
  const length = (j) => j.cookies.get(cookie)?.length;
  check("to the same length", length(ours) === length(theirs), `${length(ours)} and ${length(theirs)}`);

  check("the app takes cloakroom's token", without(await text(app, session, ours.copy())) === without(said));
  check("cloakroom takes the token that the app has rolled", without(await text(cloakroom, session, theirs.copy())) === without(said));
  const broken = ours.copy();
  // A letter in the middle of the tag.
  const [token, at] = [ours.cookies.get(cookie), length(ours) - 10];
  broken.cookies.set(cookie, token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1));
  const brokenThere = broken.copy();
  const nobody = [await text(cloakroom, session, broken), await text(app, session, brokenThere)];
  check("a token that was changed is nobody to both", nobody.every((body) => body === signedOut), nobody.join(" and "));
  check("and both delete its cookie", !broken.cookies.has(cookie) && !brokenThere.cookies.has(cookie));

  const fresh = new Jar();
  const made = await csrf(cloakroom, fresh);
  check("the app takes cloakroom's csrf token", (await csrf(app, fresh)) === made);
  const left = ours.copy();
  const answer = await ask(cloakroom, "/api/auth/signout", left, { csrfToken, callbackUrl: "/bye", json: "true" });
  const { url } = await answer.json();
  check("cloakroom signs out with the app's csrf token", url === `${cloakroom}/bye` && !left.cookies.has(cookie), url);
  check("and the token is dead here", (await text(cloakroom, session, ours)) === signedOut);
}
