// Samples page by page; of a run without them, its answers.

import { infiniteQueryOptions } from "@tanstack/react-query";
import type { PagedFilter } from "@/lib/search";
import { client, type JobStatus, type SamplePage, unwrap } from "./client";
import { jobKey } from "./job";

const PAGE = 100;

export function samplesQuery(id: string, task: string, status: JobStatus, filter: PagedFilter | undefined) {
  return infiniteQueryOptions({
    // What a run that goes on has answered is none of its samples once it has ended.
    queryKey: [...jobKey(id), "samples", task, filter ?? "all", status] as const,
    queryFn: async ({ pageParam, signal }): Promise<SamplePage> => {
      const query = {
        limit: PAGE,
        live: status === "running",
        ...(filter ? { filter } : {}),
        ...(pageParam ? { cursor: pageParam } : {}),
      };
      const path = { job_id: id, task };
      const page = await unwrap(client.GET("/jobs/{job_id}/samples/{task}", { params: { path, query }, signal }));
      // The document names a second type, for callers who ask for lines.
      return page as SamplePage;
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page: SamplePage) => page.next_cursor ?? null,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
}
