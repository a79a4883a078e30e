// For the dashboard and for tests. A real app would not show this to the world.

import { counters, resetCounters } from "@/lib/counters";

export const dynamic = "force-dynamic";

export function GET(): Response {
  return Response.json(counters());
}

export function DELETE(): Response {
  resetCounters();
  return Response.json(counters());
}
