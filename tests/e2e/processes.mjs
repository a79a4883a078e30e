// Child processes that cannot outlive the run: each leads a group of its own, and groups are ended by their id, never by name.

import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

/** Output lines kept per process, to be shown when something fails. */
const LINES_KEPT = 60;
/** How long a process may take to end by itself before it is killed. */
const GRACE_MS = 3000;

const running = new Set();

/** Starts a program. `exited` resolves to its exit code, `log` holds its last lines, `onLine` sees each line. */
export function start(name, command, args, { cwd, env = {}, onLine = () => {} } = {}) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const program = { name, pid: child.pid, log: [], over: false };
  for (const stream of [child.stdout, child.stderr]) {
    let rest = "";
    stream.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        program.log.push(line);
        if (program.log.length > LINES_KEPT) program.log.shift();
        onLine(line);
      }
    });
  }
  program.exited = new Promise((done) => {
    child.on("error", (error) => done(`could not start: ${error.message}`));
    child.on("close", (code, signal) => done(code ?? signal));
  }).then((how) => {
    program.over = true;
    running.delete(program);
    return how;
  });
  running.add(program);
  return program;
}

/** Runs a program to its end; throws with its last lines when it fails. */
export async function run(name, command, args, options) {
  const program = start(name, command, args, options);
  const how = await program.exited;
  if (how !== 0) throw new Error(`${name} ended with ${how}\n${program.log.join("\n")}`);
}

export async function stop(program) {
  if (!program || program.over || !program.pid) return;
  signal(program, "SIGTERM");
  const ended = await Promise.race([program.exited.then(() => true), sleep(GRACE_MS, false)]);
  if (!ended) {
    signal(program, "SIGKILL");
    await program.exited;
  }
}

export async function stopAll() {
  await Promise.all([...running].map(stop));
}

/** For the moment when there is no time left to wait. */
export function killAll() {
  for (const program of running) if (program.pid) signal(program, "SIGKILL");
}

function signal(program, name) {
  try {
    process.kill(-program.pid, name);
  } catch (error) {
    if (error.code !== "ESRCH") throw error; // gone already
  }
}

/** Waits for `ready()` to give something truthy; fails at once when the program dies, and after `limitMs` otherwise. */
export async function until(program, ready, limitMs) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await ready();
    if (found) return found;
    if (program.over) throw new Error(`${program.name} ended with ${await program.exited}\n${program.log.join("\n")}`);
    if (Date.now() > deadline) throw new Error(`${program.name} is not ready after ${limitMs} ms\n${program.log.join("\n")}`);
    await sleep(50);
  }
}
