// The stream of all jobs, applied to every list that is loaded.

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { isListed, type JobPages, mergeJob, removeJob, setPositions } from "@/lib/job_pages";
import type { JobSummary } from "./client";
import type { JobsKey } from "./jobs";
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

/** The places in the queue, by job. A long queue comes without its end. */
function readPositions(data: unknown): Map<string, number> | null {
  const queue = (data as { queued_jobs?: unknown } | null)?.queued_jobs;
  if (!Array.isArray(queue)) return null;
  return new Map(
    queue.flatMap((item: { job_id?: unknown; position?: unknown } | null): [string, number][] =>
      typeof item?.job_id === "string" && typeof item.position === "number" ? [[item.job_id, item.position]] : [],
    ),
  );
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
          ready: (data) => {
            // What happened while there was no stream is told only if the server still knows it.
            const resumed = (data as { resumed?: unknown } | null)?.resumed === true;
            if (!resumed) void queries.invalidateQueries({ queryKey: ["jobs"] });
          },
          job: (data) => {
            if (isJob(data)) applyJob(queries, data);
          },
          removed: (data) => {
            const id = (data as { job_id?: unknown } | null)?.job_id;
            if (typeof id === "string") changeLists(queries, (pages) => removeJob(pages, id));
          },
          queue: (data) => {
            const positions = readPositions(data);
            if (positions)
              changeLists(queries, (pages, key) => (key[1] === "queued" ? setPositions(pages, positions) : pages));
          },
        },
      }),
    [queries],
  );
  return state;
}
