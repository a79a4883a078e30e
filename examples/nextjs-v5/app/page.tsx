import Link from "next/link";

export default function Home() {
  return (
    <main className="card">
      <h1>Cloakroom example</h1>
      <p>A small app with a login. Its dashboard checks the session from three places at once, as real apps do.</p>
      <p className="row">
        <Link className="button" href="/signin">
          Sign in
        </Link>
        <Link href="/dashboard">Dashboard</Link>
      </p>
    </main>
  );
}
