"use client";

import { signIn } from "next-auth/react";
import { useEffect, useState, type FormEvent } from "react";

export default function SignIn() {
  // Busy until React is at work: sent the plain way, the form would reach a page that cannot sign anybody in.
  const [busy, setBusy] = useState(true);
  const [problem, setProblem] = useState("");
  useEffect(() => setBusy(false), []);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setProblem("");
    try {
      const answer = await signIn("credentials", {
        username: form.get("username"),
        password: form.get("password"),
        redirect: false,
      });
      if (answer?.error === "CredentialsSignin") throw new Error("wrong user or password");
      if (!answer || answer.error) throw new Error(answer?.error ?? "no answer");
      window.location.href = "/dashboard";
    } catch (error) {
      setProblem(`Sign-in failed: ${error instanceof Error ? error.message : error}`);
      setBusy(false);
    }
  }

  return (
    <main className="card">
      <h1>Sign in</h1>
      <form method="post" onSubmit={submit}>
        <label>
          User
          <input name="username" autoComplete="username" defaultValue="alice" required />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <button disabled={busy}>Sign in</button>
        {problem && <p role="alert">{problem}</p>}
      </form>
      <p className="quiet">The user is “alice”, the password “secret”.</p>
    </main>
  );
}
