// Reads a log as it grows. An answer that breaks off is not the end: the last lines are asked for again.

import { useEffect, useState } from "react";
import { apiUrl, goToSignIn } from "@/api/base";
import { readProblem } from "@/api/problems";
import { appendText, endText, type LogLines, NO_LINES } from "./log_lines";

const TAIL = 5000;
const RETRY_MS = 3000;
const FLUSH_MS = 100;

export interface ShownLog {
  log: LogLines;
  state: "loading" | "following" | "broken" | "ended";
  error: unknown;
}

interface Wanted {
  id: string;
  attempt: number | undefined;
  follow: boolean;
}

export function useLog({ id, attempt, follow }: Wanted): ShownLog {
  const [shown, setShown] = useState<ShownLog>({ log: NO_LINES, state: "loading", error: null });
  useEffect(() => {
    const abort = new AbortController();
    void readLog({ id, attempt, follow }, abort.signal, (part) => setShown((before) => ({ ...before, ...part })));
    return () => abort.abort();
  }, [id, attempt, follow]);
  return shown;
}

type Show = (part: Partial<ShownLog>) => void;

async function readLog(wanted: Wanted, signal: AbortSignal, show: Show): Promise<void> {
  while (!signal.aborted) {
    try {
      await readOnce(wanted, signal, show);
      return;
    } catch (error) {
      if (signal.aborted) return;
      const isCut = wanted.follow && error instanceof TypeError;
      show({ state: "broken", error: isCut ? null : error });
      if (!isCut) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function readOnce({ id, attempt, follow }: Wanted, signal: AbortSignal, show: Show): Promise<void> {
  const query = new URLSearchParams({ tail: String(TAIL) });
  if (follow) query.set("follow", "true");
  if (attempt) query.set("attempt", String(attempt));
  const response = await fetch(apiUrl(`/jobs/${encodeURIComponent(id)}/logs?${query}`), { signal });
  if (response.status === 401) goToSignIn();
  if (!response.ok) throw readProblem(response, await response.json().catch(() => null));
  let log = NO_LINES;
  let timer: ReturnType<typeof setTimeout> | undefined;
  show({ log, state: follow ? "following" : "loading", error: null });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  try {
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      log = appendText(log, value);
      // A fast log comes in thousands of pieces: not each is drawn.
      timer ??= setTimeout(() => {
        timer = undefined;
        show({ log });
      }, FLUSH_MS);
    }
  } finally {
    clearTimeout(timer);
  }
  show({ log: endText(log), state: "ended", error: null });
}
