// Answers of a run that goes on, as they come: appended to the pages that are loaded.

import { type InfiniteData, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import type { JobStatus, SamplePage } from "@/api/client";
import { samplesQuery } from "@/api/samples";
import { followStream } from "@/api/stream";

type Pages = InfiniteData<SamplePage, string | null>;

interface Wanted {
  id: string;
  task: string;
  status: JobStatus;
  /** Whether all pages so far are loaded: only then is what comes the next of them. */
  active: boolean;
}

export function useLiveAnswers({ id, task, status, active }: Wanted): void {
  const queries = useQueryClient();
  const cursor = useRef<string | null>(null);
  useEffect(() => {
    if (!active) return undefined;
    const { queryKey } = samplesQuery(id, task, status, undefined);
    const path = `/jobs/${encodeURIComponent(id)}/samples/${encodeURIComponent(task)}/events`;
    const last = queries.getQueryData(queryKey)?.pages.at(-1)?.end_cursor;
    cursor.current = last ?? null;
    return followStream(() => (cursor.current ? `${path}?cursor=${encodeURIComponent(cursor.current)}` : path), {
      lastEvent: "end",
      events: {
        answers: (data, eventId) => {
          if (!isPage(data)) return;
          cursor.current = eventId || cursor.current;
          queries.setQueryData<Pages>(queryKey as never, (before) => append(before, data, cursor.current));
        },
      },
    });
  }, [queries, id, task, status, active]);
}

function isPage(data: unknown): data is SamplePage {
  return typeof data === "object" && data !== null && Array.isArray((data as SamplePage).samples);
}

/** The pages with these answers at the end of the last one. */
function append(before: Pages | undefined, page: SamplePage, cursor: string | null): Pages | undefined {
  const last = before?.pages.at(-1);
  if (!before || !last) return before;
  const longer = { ...last, samples: [...last.samples, ...page.samples], end_cursor: cursor, next_cursor: null };
  return { ...before, pages: [...before.pages.slice(0, -1), longer] };
}
