// The stream of all jobs, applied to every list that is loaded.

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { isListed, type JobPages, mergeJob, removeJob, setPositions } from "@/lib/job_pages";
import type { JobSummary } from "./client";
import type { JobsKey } from "./jobs";
import { followStream, type StreamState } from "./stream";

type Change = (pages: JobPages, key: JobsKey) => JobPages;

const LISTS = { queryKey: ["jobs"] } as const;

/** Applies changes to the lists that are loaded, and once more to those that were being loaded meanwhile. */
class LiveLists {
  private missed: Change[] = [];
  private readonly unsubscribe: () => void;

  constructor(private readonly queries: QueryClient) {
    this.unsubscribe = queries.getQueryCache().subscribe((event) => {
      const isAnswer = event.type === "updated" && event.action.type === "success" && !event.action.manual;
      if (isAnswer && event.query.queryKey[0] === LISTS.queryKey[0]) queueMicrotask(() => this.repeat());
    });
  }

  close(): void {
    this.unsubscribe();
  }

  apply(change: Change): void {
    // An answer that is on its way may be older than this change, and replaces the list.
    if (this.queries.isFetching(LISTS) > 0) this.missed.push(change);
    this.write(change);
  }

  /** Load all lists anew: what was asked for before may be older than what the stream tells from now on. */
  async reload(): Promise<void> {
    this.missed = [];
    // A list that has no answer yet would else wait for the one that is on its way.
    await this.queries.cancelQueries(LISTS);
    await this.queries.invalidateQueries(LISTS);
  }

  private repeat(): void {
    const missed = this.missed;
    if (this.queries.isFetching(LISTS) === 0) this.missed = [];
    for (const change of missed) this.write(change);
  }

  private write(change: Change): void {
    for (const [key, pages] of this.queries.getQueriesData<JobPages>(LISTS)) {
      if (pages) this.queries.setQueryData(key, change(pages, key as unknown as JobsKey));
    }
  }
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
  useEffect(() => {
    const lists = new LiveLists(queries);
    const stop = followStream(() => "/events", {
      onState: setState,
      events: {
        ready: (data) => {
          // What happened while there was no stream is told only if the server still knows it.
          const resumed = (data as { resumed?: unknown } | null)?.resumed === true;
          if (!resumed) void lists.reload();
        },
        job: (data) => {
          if (!isJob(data)) return;
          lists.apply((pages, [, section, filter]) => mergeJob(pages, data, isListed(data, section, filter)));
        },
        removed: (data) => {
          const id = (data as { job_id?: unknown } | null)?.job_id;
          if (typeof id === "string") lists.apply((pages) => removeJob(pages, id));
        },
        queue: (data) => {
          const positions = readPositions(data);
          if (positions) lists.apply((pages, key) => (key[1] === "queued" ? setPositions(pages, positions) : pages));
        },
      },
    });
    return () => {
      stop();
      lists.close();
    };
  }, [queries]);
  return state;
}
