"use client";

import { useQueryClient } from "@tanstack/react-query";
import { signOut } from "next-auth/react";
import { useState } from "react";
import { checkSession } from "./session-check";

export function LogoutButton() {
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");

  async function logOut() {
    setProblem("");
    // 1. What this tab remembers.
    queries.clear();
    // 2. What cloakroom remembers. Not being able to say so must not keep anybody signed in.
    await fetch("/api/auth/signout", { method: "POST" }).catch((error) => console.warn("signout:", error));
    // 3. The login itself: NextAuth deletes the cookie.
    await signOut({ redirect: false }).catch((error) => console.warn("signOut:", error));
    // 4. Trust nobody, look.
    const { state } = await checkSession().catch(() => ({ state: "refused" as const }));
    if (state !== "signed-out") {
      setProblem("You are still signed in. Please try again.");
      return;
    }
    // 5. Away from here.
    window.location.href = "/signin";
  }

  return (
    <>
      {problem && <span role="alert">{problem}</span>}
      <button onClick={logOut}>Log out</button>
    </>
  );
}
