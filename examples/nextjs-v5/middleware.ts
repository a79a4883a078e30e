// With CLOAKROOM_VERIFY set, the dashboard's pages come with their session, and the browser need not ask for it: cloakroom is asked
// before a page is made, and what it says goes along with the request as X-Session, signed. Read when the app starts.

import { NextResponse, type NextRequest } from "next/server";

export const config = { matcher: ["/dashboard/:path*"] };

export async function middleware(request: NextRequest) {
  const headers = new Headers(request.headers);
  // Only cloakroom may say who somebody is.
  headers.delete("x-session");
  const verified = await verify(request);
  if (verified?.status === 401) return NextResponse.redirect(new URL("/signin", request.nextUrl));
  const session = verified?.status === 200 && verified.headers.get("x-session");
  // Without it (nobody can say) the page asks for itself, as it does without cloakroom.
  if (session) headers.set("x-session", session);
  const response = NextResponse.next({ request: { headers } });
  // A token that was rolled meanwhile.
  for (const cookie of verified?.headers.getSetCookie() ?? []) response.headers.append("set-cookie", cookie);
  return response;
}

async function verify(request: NextRequest): Promise<Response | undefined> {
  const cloakroom = process.env.CLOAKROOM_VERIFY;
  if (!cloakroom) return undefined;
  const headers = {
    cookie: request.headers.get("cookie") ?? "",
    "x-forwarded-host": request.headers.get("host") ?? "",
    "x-forwarded-proto": request.nextUrl.protocol.replace(":", ""),
  };
  return fetch(`${cloakroom}/api/auth/verify`, { headers, cache: "no-store", redirect: "manual" }).catch(() => undefined);
}
