// The queries of lists of jobs.

import { infiniteQueryOptions } from "@tanstack/react-query";
import { type JobFilter, type Section, sectionStatuses } from "@/lib/job_pages";
import { client, type JobList, unwrap } from "./client";

export type JobsKey = readonly ["jobs", Section, JobFilter];
const PAGE_SIZES: Record<Section, number> = { running: 200, queued: 200, ended: 50 };

export function jobsQuery(section: Section, filter: JobFilter) {
  const { model, task, label } = filter;
  return infiniteQueryOptions({
    queryKey: ["jobs", section, filter] satisfies JobsKey,
    queryFn: ({ pageParam, signal }) => {
      const query = {
        status: sectionStatuses(section, filter),
        limit: PAGE_SIZES[section],
        ...(model ? { model } : {}),
        ...(task ? { task } : {}),
        ...(label?.length ? { label } : {}),
        ...(pageParam ? { cursor: pageParam } : {}),
      };
      return unwrap(client.GET("/jobs", { params: { query }, signal }));
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page: JobList) => page.next_cursor ?? null,
    enabled: sectionStatuses(section, filter).length > 0,
  });
}
