// A fixed-window limiter per client address, as many apps have one in front of /api/auth/*.
//
// It stands in the route handler and not in middleware: Next runs middleware before rewrites, so a limiter there would also count
// the checks that cloakroom answers without asking NextAuth.

import { counters } from "./counters";

/** Calls one address may make in a window; 0 turns the limiter off. */
const LIMIT = Number(process.env.RATE_LIMIT ?? 60);
const WINDOW_MS = Number(process.env.RATE_WINDOW_MS ?? 60_000);
/** Addresses remembered at once; beyond it all windows start anew, which is kinder than unbounded memory. */
const ADDRESSES_MAX = 10_000;

const windows = new Map<string, { calls: number; ends: number }>();

/** The 429 to send instead of an answer, or null when the call may pass. */
export function refusal(request: Request): Response | null {
  if (!LIMIT) return null;
  const now = Date.now();
  const address = request.headers.get("x-forwarded-for")?.split(",")[0].trim() ?? "unknown";
  let window = windows.get(address);
  if (!window || window.ends <= now) {
    if (windows.size >= ADDRESSES_MAX) windows.clear();
    window = { calls: 0, ends: now + WINDOW_MS };
    windows.set(address, window);
  }
  window.calls += 1;
  if (window.calls <= LIMIT) return null;

  counters().limited += 1;
  const seconds = Math.ceil((window.ends - now) / 1000);
  return Response.json({ error: "Too many requests" }, { status: 429, headers: { "retry-after": String(seconds) } });
}
