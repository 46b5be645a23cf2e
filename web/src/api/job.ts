// One job: the queries of its page, and what may be changed of it.

import { type QueryClient, queryOptions } from "@tanstack/react-query";
import { isOlder, keepNewer, type VersionedJob } from "@/lib/job_version";
import { client, type JobInfo, type JobPatch, type JobStatus, unwrap } from "./client";

export const ENDED: ReadonlySet<JobStatus> = new Set(["completed", "failed", "cancelled"]);

// A replica that is behind catches up in milliseconds.
const BEHIND_MS = 500;
const BEHIND_TRIES = 10;

export const jobKey = (id: string) => ["job", id] as const;

export function jobQuery(id: string) {
  return queryOptions({
    queryKey: jobKey(id),
    queryFn: async ({ signal, client: queries }): Promise<VersionedJob> => {
      let answer = await readJob(id, signal);
      const known = () => queries.getQueryData<VersionedJob>(jobKey(id));
      // Of a job that has ended nothing else tells its output: an answer of before is of no use.
      for (let tries = 0; tries < BEHIND_TRIES && isOlder(answer, known()) && hasEnded(known()); tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, BEHIND_MS));
        answer = await readJob(id, signal);
      }
      return keepNewer(known(), answer);
    },
  });
}

const hasEnded = (job: JobInfo | undefined) => job !== undefined && ENDED.has(job.status);

async function readJob(id: string, signal: AbortSignal): Promise<VersionedJob> {
  const request = client.GET("/jobs/{job_id}", { params: { path: { job_id: id } }, signal });
  const job = await unwrap(request);
  return { ...job, version: Number((await request).response.headers.get("Job-Version")) || 0 };
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
