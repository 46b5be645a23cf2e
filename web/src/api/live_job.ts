// The stream of one job, applied to its page.

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { applyEvent, readVersion, type VersionedJob } from "@/lib/job_version";
import type { JobInfo } from "./client";
import { ENDED, jobKey } from "./job";
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
        state: (data, eventId) => {
          if (!isJobInfo(data)) return;
          const event = { ...data, version: readVersion(eventId) };
          queries.setQueryData<VersionedJob>(jobKey(id), (known) => applyEvent(known, event));
          // What it left in the store is read by GET alone.
          if (ENDED.has(data.status)) void queries.invalidateQueries({ queryKey: jobKey(id) });
        },
      },
    });
  }, [queries, id, active]);
  return active ? state : "ended";
}
