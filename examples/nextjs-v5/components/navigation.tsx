"use client";

import { useSession } from "next-auth/react";
import { useEffect, useState } from "react";
import { LogoutButton } from "./logout-button";
import { checkSession, type Check } from "./session-check";

/** Asks twice, as many navigations do: useSession() and a fetch of its own. */
export function Navigation() {
  const { status } = useSession();
  const [check, setCheck] = useState<Check>({ state: "checking" });
  useEffect(() => {
    checkSession().then(setCheck, () => setCheck({ state: "signed-out" }));
  }, []);

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
