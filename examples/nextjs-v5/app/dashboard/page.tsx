"use client";

import { useQuery } from "@tanstack/react-query";
import { DashboardLayout } from "@/components/dashboard-layout";
import type { Counters } from "@/lib/counters";

async function readCounters(): Promise<Counters> {
  const answer = await fetch("/api/counters");
  if (!answer.ok) throw new Error(`counters: ${answer.status}`);
  return answer.json();
}

export default function Dashboard() {
  return (
    <DashboardLayout>
      <h1>Dashboard</h1>
      <Figures />
    </DashboardLayout>
  );
}

function Figures() {
  const { data } = useQuery({ queryKey: ["counters"], queryFn: readCounters });
  const calls = Object.values(data?.reached ?? {}).reduce((sum, n) => sum + n, 0);
  return (
    <dl>
      <Figure name="Calls that reached NextAuth" value={data && calls} />
      <Figure name="Session checks among them" value={data && (data.reached["GET session"] ?? 0)} />
      <Figure name="Calls refused (429)" value={data?.limited} />
    </dl>
  );
}

function Figure({ name, value }: { name: string; value: number | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value ?? "…"}</dd>
    </div>
  );
}
