// The session that a page came with: see middleware.ts.

import { createPublicKey, verify, type JsonWebKey } from "node:crypto";
import type { Session } from "next-auth";
import { headers } from "next/headers";

/** The session in X-Session, or undefined if none came. The signature is checked again here, should a request ever get past the middleware. */
export async function handedSession(): Promise<Session | undefined> {
  const handed = (await headers()).get("x-session");
  return (handed && (await read(handed).catch(() => undefined))) || undefined;
}

async function read(jws: string): Promise<Session | undefined> {
  const [header, claims, signature] = jws.split(".");
  const parse = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString());
  const { alg, kid } = parse(header);
  const jwk = alg === "ES256" && (await publishedKeys()).find((key) => key.kid === kid);
  if (!jwk) return undefined;
  const key = { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" } as const;
  const good = verify("sha256", Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, "base64url"));
  const { exp, session } = parse(claims);
  return good && exp * 1000 > Date.now() ? session : undefined;
}

/** Kept for five minutes: a key is published ten minutes before it signs. */
async function publishedKeys(): Promise<(JsonWebKey & { kid: string })[]> {
  const answer = await fetch(`${process.env.CLOAKROOM_VERIFY}/.well-known/jwks.json`, { next: { revalidate: 300 } });
  return (await answer.json()).keys;
}
