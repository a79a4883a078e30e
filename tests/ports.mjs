// Ports for servers that tests start and that are told where to listen.

import { createServer } from "node:net";

/** A port nobody listens on, of those that the system hands out to nobody who asks for any, and not the same twice. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    const isFree = await new Promise((done) => {
      const probe = createServer().once("error", () => done(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)));
    });
    if (!isFree || given.has(port)) continue;
    given.add(port);
    return port;
  }
}

const given = new Set();
