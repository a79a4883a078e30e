"use client";

import { useSession } from "next-auth/react";
import { LogoutButton } from "./logout-button";
import { useCheck } from "./session-check";

/** Asks twice, as many navigations do: useSession() and a fetch of its own. */
export function Navigation() {
  const { status } = useSession();
  const check = useCheck();

  return (
    <nav className="row" aria-busy={status === "loading" || check.state === "checking"}>
      <strong id="who">{check.state === "signed-in" ? check.name : check.state}</strong>
      <span className="quiet">
        useSession: {status}
        {check.state === "signed-in" && <>; own check answered by {check.source}</>}
      </span>
      <LogoutButton />
    </nav>
  );
}
