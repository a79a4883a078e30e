"use client";

import { useEffect, type ReactNode } from "react";
import { Navigation } from "./navigation";
import { useCheck } from "./session-check";

/** Guards its children with a session check of its own, at the same moment as Navigation makes its two. */
export function DashboardLayout({ children }: { children: ReactNode }) {
  const check = useCheck();
  useEffect(() => {
    if (check.state === "signed-out") window.location.replace("/signin");
  }, [check]);

  return (
    <>
      <Navigation />
      <main className="card" id="dashboard" data-state={check.state}>
        {check.state === "signed-in" && children}
        {check.state === "checking" && <p>Checking the session …</p>}
        {check.state === "refused" && <p role="alert">The session check was refused ({check.status}). Try again in a moment.</p>}
      </main>
    </>
  );
}
