// One job: the queries of its page, and what may be changed of it.

import { type QueryClient, queryOptions } from "@tanstack/react-query";
import { client, type JobInfo, type JobPatch, type JobStatus, unwrap } from "./client";

export const ENDED: ReadonlySet<JobStatus> = new Set(["completed", "failed", "cancelled"]);

export const jobKey = (id: string) => ["job", id] as const;

export function jobQuery(id: string) {
  return queryOptions({
    queryKey: jobKey(id),
    queryFn: ({ signal }) => unwrap(client.GET("/jobs/{job_id}", { params: { path: { job_id: id } }, signal })),
  });
}

export function filesQuery(id: string) {
  return queryOptions({
    queryKey: [...jobKey(id), "files"],
    queryFn: ({ signal }) => unwrap(client.GET("/jobs/{job_id}/files", { params: { path: { job_id: id } }, signal })),
  });
}

export function cancelJob(id: string) {
  return unwrap(client.DELETE("/jobs/{job_id}", { params: { path: { job_id: id } } }));
}

export function changeJob(id: string, body: JobPatch): Promise<JobInfo> {
  return unwrap(client.PATCH("/jobs/{job_id}", { params: { path: { job_id: id } }, body }));
}

/** Have everything that shows this job asked for again. */
export async function refreshJob(queries: QueryClient, id: string): Promise<void> {
  await Promise.all([
    queries.invalidateQueries({ queryKey: jobKey(id) }),
    queries.invalidateQueries({ queryKey: ["jobs"] }),
  ]);
}

/** A job's newest state as its stream tells it; the stream leaves out what only GET reads from the store. */
export function keepOutput(before: JobInfo | undefined, state: JobInfo): JobInfo {
  return { ...state, output: before?.output ?? null, samples: before?.samples ?? null };
}
