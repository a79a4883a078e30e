import type { NextRequest } from "next/server";
import { nextAuth } from "@/lib/auth";
import { countReached } from "@/lib/counters";
import { refusal } from "@/lib/rate-limit";

type Context = { params: Promise<{ nextauth: string[] }> };

async function handler(request: NextRequest, context: Context): Promise<Response> {
  const refused = refusal(request);
  if (refused) return refused;
  countReached(request.method, request.nextUrl.pathname);
  return nextAuth(request, context);
}

export { handler as GET, handler as POST };
