// NextAuth v4 with one user, "alice" with the password "secret", and a back-end as slow as real ones are.

import NextAuth from "next-auth";
import CredentialsProvider from "next-auth/providers/credentials";
import { countCheck } from "./counters";

/** Stands for the database and network time that a real session check spends. */
const DELAY_MS = Number(process.env.AUTH_DELAY_MS ?? 75);

const slowWork = () => new Promise((done) => setTimeout(done, DELAY_MS));

export const nextAuth = NextAuth({
  pages: { signIn: "/signin" },
  session: { strategy: "jwt" },
  providers: [
    CredentialsProvider({
      name: "Credentials",
      credentials: { username: { label: "User" }, password: { label: "Password", type: "password" } },
      async authorize(credentials) {
        await slowWork();
        if (credentials?.username !== "alice" || credentials.password !== "secret") return null;
        return { id: "user-alice", name: "alice", email: "alice@example.test" };
      },
    }),
  ],
  callbacks: {
    async jwt({ token, user }) {
      // A login keeps its own name while its token changes at every check.
      if (user) return { ...token, login: crypto.randomUUID() };
      await slowWork();
      countCheck(String(token.login));
      return token;
    },
  },
});
