// The README's lines for ioredis, as they stand there, with both ioredis that the other checks use.
//
// Only the server's address is another one. Keys lie in database 0, as for everybody who types these lines.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import Redis5 from "ioredis5";
import Redis6 from "ioredis6";
import { Checks, address, finish } from "./checks.mjs";

const { host, port } = address("SERVER");
const IMPORT = 'import Redis from "ioredis"\n';
const ADDRESS = "redis://127.0.0.1:6379";
const AsyncFunction = (async () => {}).constructor;

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const [, block] = readme.match(/^### With ioredis\n\n```js\n(.*?)^```$/ms);

const all = [];
for (const [name, Redis] of [["ioredis 5", Redis5], ["ioredis 6", Redis6]]) {
  const checks = new Checks(`the README with ${name}`);
  await checks.check("sets, reads and signs out a session, and writes a plain key", async () => {
    assert.ok(block.startsWith(IMPORT) && block.includes(ADDRESS), block);
    const lines = block.slice(IMPORT.length).replace(ADDRESS, `redis://${host}:${port}`);
    const token = randomBytes(8).toString("hex");
    const session = { user: { name: "alice" } };
    const printed = [];
    const typed = new AsyncFunction("Redis", "token", "session", "console", `${lines}; return { redis, cached }`);
    const broom = new Redis({ host, port });
    await broom.del("greeting");
    const { redis, cached } = await typed(Redis, token, session, { log: (line) => printed.push(line) });
    assert.deepEqual(JSON.parse(cached), session);
    assert.equal(await redis.get(`auth:session:${token}`), null);
    assert.equal(await redis.get("greeting"), "hello");
    assert.ok(printed.length === 1 && printed[0] > 1000 && printed[0] <= 1500, String(printed));
    await broom.del("greeting");
    redis.disconnect();
    broom.disconnect();
  });
  all.push(checks);
}

finish(...all);
