// How old what the front end answers is: with the API server out of sight, it goes on for a while from memory.

import { useSyncExternalStore } from "react";

// A watch that is well is never so far behind.
const FRESH_SECONDS = 5;
let asOf: number | null = null;
const listeners = new Set<() => void>();

/** The time, in milliseconds, of which an answer tells; null for one of now. */
export function readAsOf(age: string | null, now: number): number | null {
  const seconds = Number(age);
  return seconds > FRESH_SECONDS && Number.isFinite(seconds) ? now - seconds * 1000 : null;
}

/** Take notice of an answer's age; answers without one are made of something else. */
export function noteAge(response: Response): void {
  const age = response.headers.get("Age");
  if (age === null) return;
  const next = readAsOf(age, Date.now());
  if (next === asOf) return;
  asOf = next;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The time of which the last answer told; null where that is now. */
export function useAsOf(): number | null {
  return useSyncExternalStore(subscribe, () => asOf);
}
