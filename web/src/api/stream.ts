// Server-sent events while the tab is visible: one connection, closed when it is hidden, opened anew when it is not.

import { apiUrl } from "./base";
import { client } from "./client";

export type StreamState = "connecting" | "live" | "paused" | "ended";

export interface StreamHandlers {
  /** By the names of events; `id` is the cursor of the last one. */
  events: Record<string, (data: unknown, id: string) => void>;
  onState?: (state: StreamState) => void;
  /** Names an event after which the server has nothing more to tell. */
  lastEvent?: string;
}

const RETRY_MS = 5000;

/** Follow the stream until the returned function is called. `path` is asked for each time that it is opened. */
export function followStream(path: () => string, { events, onState, lastEvent }: StreamHandlers): () => void {
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let finished = false;

  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const finish = () => {
    finished = true;
    close();
    onState?.("ended");
  };
  const open = () => {
    close();
    if (finished) return;
    if (document.hidden) {
      onState?.("paused");
      return;
    }
    onState?.("connecting");
    const opened = new EventSource(apiUrl(path()));
    source = opened;
    opened.onopen = () => onState?.("live");
    opened.onerror = () => {
      onState?.("connecting");
      // The browser tries again by itself unless the answer was an error: then a plain request tells which.
      if (opened.readyState === EventSource.CLOSED) {
        void checkSession();
        timer = setTimeout(open, RETRY_MS);
      }
    };
    for (const [name, handle] of Object.entries(events)) {
      opened.addEventListener(name, (event) => handle(parse(event.data), event.lastEventId));
    }
    if (lastEvent) opened.addEventListener(lastEvent, finish);
  };

  document.addEventListener("visibilitychange", open);
  open();
  return () => {
    finished = true;
    document.removeEventListener("visibilitychange", open);
    close();
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Leave for the sign-in page where the session has ended: an EventSource does not tell its status. */
async function checkSession(): Promise<void> {
  await client.GET("/queue").catch(() => undefined);
}
