"use client";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { SessionProvider } from "next-auth/react";
import { useState, type ReactNode } from "react";

export function Providers({ children }: { children: ReactNode }) {
  const [queries] = useState(() => new QueryClient());
  return (
    <SessionProvider>
      <QueryClientProvider client={queries}>{children}</QueryClientProvider>
    </SessionProvider>
  );
}
