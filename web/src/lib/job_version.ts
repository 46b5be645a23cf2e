// Which of two states of a job is the newer one: its answers and its stream come from replicas that are not equally
// far. Pure.

import type { JobInfo } from "@/api/client";

/** A job with the version of its object, which grows with every change; 0 where it is not known. */
export interface VersionedJob extends JobInfo {
  version: number;
}

export function isOlder(state: VersionedJob, known: VersionedJob | undefined): boolean {
  return known !== undefined && state.version > 0 && state.version < known.version;
}

/** The newer state, with what an answer alone has: what the store holds of the job. */
export function keepNewer(known: VersionedJob | undefined, answer: VersionedJob): VersionedJob {
  return known && isOlder(answer, known) ? { ...known, output: answer.output ?? known.output ?? null } : answer;
}

/** What the stream tells, unless more is known; it leaves out what only an answer has. */
export function applyEvent(known: VersionedJob | undefined, event: VersionedJob): VersionedJob {
  if (known && isOlder(event, known)) return known;
  return { ...event, output: known?.output ?? null, samples: known?.samples ?? null };
}

/** The version in an event's id, which is "version.position". */
export function readVersion(eventId: string): number {
  return Number(/^\d+/.exec(eventId)?.[0] ?? 0);
}
