// One line per check, and an exit code that cannot say "fine" by accident.
//
// A program makes a `Checks` for each client, calls `check` for every promise it
// tests, and ends with `finish`, which prints the closing line that the runner
// insists on. A check that hangs fails after `CHECK_MS`.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** No honest check takes longer, even on a busy machine with two cores. */
const CHECK_MS = 20_000;

export { sleep };

export class Checks {
  #name;
  #failed = 0;

  constructor(name) {
    this.#name = name;
    process.on("unhandledRejection", (reason) => {
      this.#say(false, "no promise is rejected unseen", reason);
    });
  }

  /** Runs one check under the name of what it promises. */
  async check(promise, run) {
    const late = new AbortController();
    try {
      await Promise.race([
        run(),
        sleep(CHECK_MS, undefined, { signal: late.signal }).then(() => {
          throw new Error(`no answer within ${CHECK_MS} ms`);
        }),
      ]);
      this.#say(true, promise);
    } catch (error) {
      this.#say(false, promise, error);
    } finally {
      late.abort();
    }
  }

  #say(passed, promise, error) {
    if (passed) {
      console.log(`ok   ${this.#name}: ${promise}`);
      return;
    }
    this.#failed += 1;
    const why = String(error?.message ?? error).split("\n").filter(Boolean).slice(0, 12).join(" | ");
    console.log(`FAIL ${this.#name}: ${promise}: ${why}`);
  }

  /** Whether every check so far has passed. */
  get passed() {
    return this.#failed === 0;
  }
}

/** The closing line; the process ends here, whatever sockets are still open. */
export function finish(...all) {
  console.log("end");
  process.exit(all.every((checks) => checks.passed) ? 0 : 1);
}

/** `host:port` from the environment, as the runner sets it. */
export function address(variable) {
  const [host, port] = (process.env[variable] ?? "").split(":");
  if (!host || !port) throw new Error(`${variable} must be host:port`);
  return { host, port: Number(port) };
}

/** Waits for something that happens by itself soon, and says what did not. */
export async function eventually(what, probe, within = 12_000) {
  const end = Date.now() + within;
  while (Date.now() < end) {
    if (await probe()) return;
    await sleep(20);
  }
  throw new Error(`${what}: not within ${within} ms`);
}

/** Redis' own error texts, asked for with `key` in the place of `{k}`. */
export function errorRows(key) {
  const rows = JSON.parse(readFileSync(new URL("./errors.json", import.meta.url), "utf8"));
  return rows.map(([words, text]) => [words.map((word) => word.replace("{k}", key)), text]);
}

/** The lines of an INFO reply, by field name. */
export function fields(info) {
  const named = String(info).split("\r\n").filter((line) => line.includes(":"));
  return Object.fromEntries(named.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]));
}
