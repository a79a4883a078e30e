import { useSession } from "next-auth/react";
import { useEffect, useState } from "react";

/** One session check of a component's own, and where its answer came from. */
export type Check =
  | { state: "checking" }
  | { state: "signed-in"; name: string; source: string }
  | { state: "signed-out" }
  | { state: "refused"; status: number };

export async function checkSession(): Promise<Check> {
  const answer = await fetch("/api/auth/session");
  if (!answer.ok) return { state: "refused", status: answer.status };
  // NextAuth v4 says {} when nobody is signed in, Auth.js v5 says null.
  const session = await answer.json();
  if (!session?.user) return { state: "signed-out" };
  return { state: "signed-in", name: session.user.name, source: answer.headers.get("x-session-source") ?? "NextAuth itself" };
}

/** A component's own check when it is mounted; none where the page came with its session. */
export function useCheck(): Check {
  const { data: handed } = useSession();
  const [check, setCheck] = useState<Check>(
    handed?.user ? { state: "signed-in", name: handed.user.name ?? "", source: "the page itself" } : { state: "checking" },
  );
  const isDue = check.state === "checking";
  useEffect(() => {
    if (isDue) checkSession().then(setCheck, () => setCheck({ state: "signed-out" }));
  }, [isDue]);
  return check;
}
