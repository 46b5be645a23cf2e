// The stream of one job, applied to its page.

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { JobInfo } from "./client";
import { ENDED, jobKey, keepOutput } from "./job";
import { followStream, type StreamState } from "./stream";

function isJobInfo(data: unknown): data is JobInfo {
  return typeof data === "object" && data !== null && "job_id" in data && "request" in data;
}

/** Follow a job until it has ended; the state of the stream. */
export function useLiveJob(id: string, active: boolean): StreamState {
  const queries = useQueryClient();
  const [state, setState] = useState<StreamState>("ended");
  useEffect(() => {
    if (!active) return undefined;
    return followStream(() => `/jobs/${encodeURIComponent(id)}/events`, {
      lastEvent: "end",
      onState: setState,
      events: {
        state: (data) => {
          if (!isJobInfo(data)) return;
          queries.setQueryData<JobInfo>(jobKey(id), (before) => keepOutput(before, data));
          // What it left in the store is read by GET alone.
          if (ENDED.has(data.status)) void queries.invalidateQueries({ queryKey: jobKey(id) });
        },
      },
    });
  }, [queries, id, active]);
  return active ? state : "ended";
}
