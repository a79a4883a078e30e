// What reached NextAuth, counted where nothing can hide it: inside the route handler. Kept in this process's memory, for one
// instance of the app; a real app has its metrics for this. Holds no token.

/** Session checks remembered with their time; older ones are forgotten, so that the list stays small. */
const CHECKS_MAX = 1000;

export type Counters = {
  /** Calls NextAuth answered, by "METHOD action", e.g. "GET session". */
  reached: Record<string, number>;
  /** Calls the rate limiter refused with 429. */
  limited: number;
  /** When NextAuth produced a session, and for which login. */
  checks: { login: string; at: number }[];
};

// Next bundles each route by itself, so a plain module variable would exist once per route.
const home = globalThis as typeof globalThis & { __counters?: Counters };

export function counters(): Counters {
  return (home.__counters ??= { reached: {}, limited: 0, checks: [] });
}

export function resetCounters(): void {
  home.__counters = undefined;
}

export function countReached(method: string, path: string): void {
  const { reached } = counters();
  const action = `${method} ${path.replace(/^\/api\/auth\//, "")}`;
  reached[action] = (reached[action] ?? 0) + 1;
}

export function countCheck(login: string): void {
  const { checks } = counters();
  checks.push({ login, at: Date.now() });
  if (checks.length > CHECKS_MAX) checks.shift();
}
