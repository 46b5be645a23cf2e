// One polite live region: what happened after a key or a button, for those who do not see it.

import { useSyncExternalStore } from "react";

let message = "";
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();
const SHOWN_MS = 8000;

function set(next: string): void {
  message = next;
  for (const listener of listeners) listener();
}

/** Say a sentence, on the screen and to screen readers. */
export function announce(sentence: string): void {
  clearTimeout(timer);
  set(sentence);
  timer = setTimeout(() => set(""), SHOWN_MS);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function Announcements() {
  const shown = useSyncExternalStore(subscribe, () => message);
  return (
    <div className="announcement" role="status" aria-live="polite">
      <bdi>{shown}</bdi>
    </div>
  );
}
