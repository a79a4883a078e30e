import type { NextRequest } from "next/server";
import { handlers } from "@/lib/auth";
import { countReached } from "@/lib/counters";
import { refusal } from "@/lib/rate-limit";

async function handler(request: NextRequest): Promise<Response> {
  const refused = refusal(request);
  if (refused) return refused;
  countReached(request.method, request.nextUrl.pathname);
  return request.method === "POST" ? handlers.POST(request) : handlers.GET(request);
}

export { handler as GET, handler as POST };
