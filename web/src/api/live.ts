// The stream of all jobs, applied to every list that is loaded.

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { JobSummary } from "./client";
import { isListed, type JobPages, type JobsKey, mergeJob, removeJob, setPositions } from "./jobs";
import { followStream, type StreamState } from "./stream";

type Change = (pages: JobPages, key: JobsKey) => JobPages;

function changeLists(queries: QueryClient, change: Change): void {
  for (const [key, pages] of queries.getQueriesData<JobPages>({ queryKey: ["jobs"] })) {
    if (pages) queries.setQueryData(key, change(pages, key as unknown as JobsKey));
  }
}

export function applyJob(queries: QueryClient, job: JobSummary): void {
  changeLists(queries, (pages, [, section, filter]) => mergeJob(pages, job, isListed(job, section, filter)));
}

function isJob(data: unknown): data is JobSummary {
  return typeof data === "object" && data !== null && "job_id" in data && "status" in data && "tasks" in data;
}

function readPositions(data: unknown): Map<string, number> | null {
  const queue = (data as { queue?: unknown } | null)?.queue;
  if (!Array.isArray(queue)) return null;
  return new Map(queue.flatMap((id, index) => (typeof id === "string" ? [[id, index] as const] : [])));
}

/** Follow all jobs; the state of the stream. */
export function useLiveJobs(): StreamState {
  const queries = useQueryClient();
  const [state, setState] = useState<StreamState>("connecting");
  useEffect(
    () =>
      followStream(() => "/events", {
        onState: setState,
        events: {
          // What happened while there was no stream is not told again.
          ready: () => void queries.invalidateQueries({ queryKey: ["jobs"] }),
          job: (data) => {
            if (isJob(data)) applyJob(queries, data);
          },
          removed: (data) => {
            const id = (data as { job_id?: unknown } | null)?.job_id;
            if (typeof id === "string") changeLists(queries, (pages) => removeJob(pages, id));
          },
          queue: (data) => {
            const positions = readPositions(data);
            if (positions) changeLists(queries, (pages, key) => (key[1] === "queued" ? setPositions(pages, positions) : pages));
          },
        },
      }),
    [queries],
  );
  return state;
}
