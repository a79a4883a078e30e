"use client";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { Session } from "next-auth";
import { SessionProvider } from "next-auth/react";
import { useState, type ReactNode } from "react";

/** With the session that the page came with nobody asks for it; without one (`undefined`) SessionProvider does. */
export function Providers({ session, children }: { session: Session | undefined; children: ReactNode }) {
  const [queries] = useState(() => new QueryClient());
  return (
    <SessionProvider session={session}>
      <QueryClientProvider client={queries}>{children}</QueryClientProvider>
    </SessionProvider>
  );
}
