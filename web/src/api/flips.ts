// The samples of a task that changed between two runs, page by page: each has a number.

import { infiniteQueryOptions } from "@tanstack/react-query";
import type { Flip } from "@/lib/compare";
import { type ComparedSamplePage, client, unwrap } from "./client";

const PAGE = 100;

export interface WantedFlips {
  baseline: string;
  candidate: string;
  task: string;
  flip: Flip;
  metric: string | undefined;
  of: string | undefined;
}

/** Where a page begins. */
type Start = { place?: number; around?: number };

/** The list from its beginning, or from the page on that has the row `around` of the candidate. */
export function flipsQuery({ baseline, candidate, task, flip, metric, of }: WantedFlips, around?: number) {
  return infiniteQueryOptions({
    queryKey: ["flips", baseline, candidate, task, flip, metric, of, around ?? "start"] as const,
    queryFn: ({ pageParam, signal }): Promise<ComparedSamplePage> => {
      const query = {
        baseline,
        flip,
        limit: PAGE,
        ...(metric === undefined ? {} : { metric }),
        ...(of === undefined ? {} : { filter: of }),
        ...pageParam,
      };
      const path = { job_id: candidate, task };
      return unwrap(client.GET("/jobs/{job_id}/compare/{task}", { params: { path, query }, signal }));
    },
    initialPageParam: (around === undefined ? { place: 0 } : { around }) as Start,
    getNextPageParam: ({ place, samples, matched }: ComparedSamplePage): Start | null =>
      place + samples.length < matched ? { place: place + samples.length } : null,
    getPreviousPageParam: ({ place }: ComparedSamplePage): Start | null =>
      place > 0 ? { place: Math.max(0, place - PAGE) } : null,
    // Jobs that have ended never change.
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
}
