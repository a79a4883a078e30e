// The two servers of a run: a production build of an example app, and the cloakroom binary.

import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../ports.mjs";
import { run, start, until } from "./processes.mjs";

/** Calls to NextAuth one address may make per minute. A run with cloakroom needs about 45, one without about 200. */
export const RATE_LIMIT = 60;
/** What a session check costs the app's back-end. */
const AUTH_DELAY_MS = 75;
const START_LIMIT_MS = 60_000;

/** Next bakes rewrites into the build. Built with this, the address is replaced with the real one before each start. */
const PLACEHOLDER = "http://cloakroom.invalid";
const MANIFEST = ".next/routes-manifest.json";
const MANIFEST_AS_BUILT = ".next/routes-manifest.built.json";
/** Runs what downloads up to three times. */
const RETRY = fileURLToPath(new URL("../retry.sh", import.meta.url));
/** What npm and Next make; never part of an app's sources. */
const MADE = new Set(["node_modules", ".next", "next-env.d.ts"]);

/** Installs and builds `source` in `dir`, both only when their inputs have changed since the last time. */
export async function buildApp(source, dir) {
  const env = { NEXT_TELEMETRY_DISABLED: "1", CLOAKROOM_URL: PLACEHOLDER };
  await mkdir(dir, { recursive: true });
  for (const name of await readdir(dir)) if (!MADE.has(name)) await rm(join(dir, name), { recursive: true });
  await cp(source, dir, { recursive: true, filter: (path) => !MADE.has(relative(source, path).split("/")[0]) });

  await install(dir);
  await unlessStamped(join(dir, ".next/made-from"), `${await hashTree(source)} ${PLACEHOLDER}`, async () => {
    await rm(join(dir, ".next"), { recursive: true, force: true });
    await run("next build", process.execPath, [next(dir), "build"], { cwd: dir, env });
    await cp(join(dir, MANIFEST), join(dir, MANIFEST_AS_BUILT));
  });
  return dir;
}

/** `npm ci`, once per package-lock.json. */
export async function install(dir) {
  const lock = await readFile(join(dir, "package-lock.json"));
  await unlessStamped(join(dir, "node_modules/.made-from"), hash(lock), () =>
    run("npm ci", RETRY, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: dir }),
  );
}

/**
 * Starts a built app. `cloakroom` is the address its `/api/auth/*` is rewritten to, or null for an app that knows of no cloakroom:
 * a build without CLOAKROOM_URL differs from one with it in the list of rewrites alone. With `handsSessions` its middleware asks
 * cloakroom before it makes a page.
 */
export async function startApp({ dir, profile, port, cloakroom, handsSessions = false }) {
  const manifest = JSON.parse(await readFile(join(dir, MANIFEST_AS_BUILT), "utf8"));
  const [rewrite, ...others] = manifest.rewrites.beforeFiles;
  if (others.length || !rewrite?.destination.startsWith(PLACEHOLDER)) throw new Error(`unexpected rewrites in ${MANIFEST_AS_BUILT}`);
  rewrite.destination = rewrite.destination.replace(PLACEHOLDER, cloakroom);
  if (!cloakroom) manifest.rewrites.beforeFiles = [];
  await writeFile(join(dir, MANIFEST), JSON.stringify(manifest));

  const origin = `http://127.0.0.1:${port}`;
  const env = {
    NEXT_TELEMETRY_DISABLED: "1",
    [profile.urlSetting]: origin,
    [profile.secretSetting]: secretOf(dir),
    RATE_LIMIT: String(RATE_LIMIT),
    AUTH_DELAY_MS: String(AUTH_DELAY_MS),
    ...(handsSessions && { CLOAKROOM_VERIFY: cloakroom }),
  };
  const program = start("next start", process.execPath, [next(dir), "start", "-p", String(port), "-H", "127.0.0.1"], { cwd: dir, env });
  await until(program, () => fetch(`${origin}/api/counters`).then((r) => r.ok, () => false), START_LIMIT_MS);
  return { program, origin };
}

/** The secret of the app in `dir`. */
export function secretOf(dir) {
  return createHash("sha256").update(dir).digest("hex");
}

/** Starts the binary on ports of its own choice, with these arguments more. */
export async function startCloakroom(binary, more) {
  const ports = {};
  // Its own directory, gone with it: a key to sign with is made at the first signature.
  const dir = await mkdtemp(join(tmpdir(), "cloakroom-e2e-dir-"));
  const args = ["--port", "0", "--http-port", "0", "--dir", dir, "--fence-log", "no", ...more];
  const program = start("cloakroom", binary, args, { onLine: (line) => Object.assign(ports, readPort(line)) });
  program.exited.then(() => rm(dir, { recursive: true, force: true }));
  await until(program, () => ports.http, START_LIMIT_MS);
  return { program, origin: `http://127.0.0.1:${ports.http}` };
}

/** The one place that knows how the binary says where it listens. */
export function readPort(line) {
  const found = line.match(/listening on \S+:(\d+) \((resp|http)\)/);
  return found ? { [found[2]]: Number(found[1]) } : {};
}

function next(dir) {
  return join(dir, "node_modules/next/dist/bin/next");
}

/** Does the work unless `stamp`, a file inside what the work makes, says that it was done for this `value`. */
async function unlessStamped(stamp, value, work) {
  const wanted = `${value} node ${process.version}`;
  if ((await readFile(stamp, "utf8").catch(() => "")) === wanted) return;
  await rm(stamp, { force: true }); // half-done work must not look done
  await work();
  await writeFile(stamp, wanted);
}

async function hashTree(dir) {
  const all = createHash("sha256");
  for (const entry of (await readdir(dir, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (MADE.has(entry.name)) continue;
    const path = join(dir, entry.name);
    all.update(`${entry.name}\0`).update(entry.isDirectory() ? await hashTree(path) : hash(await readFile(path)));
  }
  return all.digest("hex");
}

function hash(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}
