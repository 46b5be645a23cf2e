// One sentence that says how a job stands.

import type { JobInfo } from "@/api/client";
import { formatAge, formatDuration, secondsBetween, spellReason } from "./format";

/** How the job stands at the time `now`, without the API's own message. */
export function describeState(job: JobInfo, now: number): string {
  switch (job.status) {
    case "queued":
      return describeQueued(job, now);
    case "running":
      return describeRunning(job, now);
    default:
      return describeEnded(job, now);
  }
}

function describeQueued(job: JobInfo, now: number): string {
  const since = `submitted ${formatAge(job.created_at, now)}`;
  if (job.hold) return `On hold, ${since}; it starts after somebody releases it.`;
  if (job.reason === "Retrying") return `Waiting for attempt ${(job.attempt ?? 0) + 1}, ${since}.`;
  const before = job.position_in_queue;
  if (typeof before !== "number") return `Waiting, ${since}.`;
  if (before === 0) return `Next in the queue, ${since}.`;
  return `Waiting behind ${before} ${before === 1 ? "other" : "others"}, ${since}.`;
}

function describeRunning(job: JobInfo, now: number): string {
  const seconds = secondsBetween(job.started_at, now);
  const attempt = (job.attempt ?? 1) > 1 ? ` (attempt ${job.attempt})` : "";
  const duration = seconds === null ? "" : `, for ${formatDuration(seconds)}`;
  const left = job.progress?.eta_seconds;
  const rest = typeof left === "number" ? `; about ${formatDuration(left)} left` : "";
  return `Running${attempt}: ${spellReason(job.reason) || "starting"}${duration}${rest}.`;
}

const ENDINGS: Partial<Record<JobInfo["status"], string>> = {
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};

function describeEnded(job: JobInfo, now: number): string {
  const seconds = secondsBetween(job.started_at, job.completed_at);
  const duration = seconds === null ? "" : ` after ${formatDuration(seconds)}`;
  const reason = job.status === "failed" ? `: ${spellReason(job.reason)}` : "";
  return `${ENDINGS[job.status]} ${formatAge(job.completed_at ?? job.created_at, now)}${duration}${reason}.`;
}
