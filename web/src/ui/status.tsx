// A job's state: a sign and a word, never colour alone.

import type { JobStatus } from "@/api/client";

const SIGNS: Record<JobStatus, string> = {
  queued: "◷",
  running: "▶",
  completed: "✓",
  failed: "✗",
  cancelled: "⊘",
};

export function Status({ status }: { status: JobStatus }) {
  return (
    <span className={`status ${status}`}>
      <span aria-hidden="true">{SIGNS[status]}</span> {status}
    </span>
  );
}

export function SuspectBadge() {
  return <span className="badge warning">suspect</span>;
}
