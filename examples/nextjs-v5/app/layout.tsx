import type { Metadata } from "next";
import type { ReactNode } from "react";
import { handedSession } from "@/lib/handed-session";
import "./globals.css";
import { Providers } from "./providers";

export const metadata: Metadata = { title: "Cloakroom example" };

export default async function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <Providers session={await handedSession()}>{children}</Providers>
      </body>
    </html>
  );
}
