// Samples by their index: cards that are filtered, searched and sorted by the front end, and one sample whole.

import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import type { SampleView } from "@/lib/search";
import { client, type SampleCardPage, unwrap } from "./client";
import { jobKey } from "./job";
import { ApiProblem } from "./problems";

/** Cards of a page; pages around a row begin at a multiple of it. */
const PAGE = 50;

/** Where a page begins. */
type Start = { cursor?: string; around?: number; place?: number };

/** The list from its beginning, or from the page on that has the row `around`. */
export function cardsQuery(id: string, task: string, { filter, q, sort }: SampleView, around?: number) {
  const list = [...jobKey(id), "cards", task, filter ?? "", q ?? "", sort ?? ""];
  return infiniteQueryOptions({
    queryKey: [...list, around ?? "start"] as const,
    queryFn: ({ pageParam, signal }): Promise<SampleCardPage> => {
      const given = { filter, q, sort, ...pageParam };
      const query = {
        limit: PAGE,
        ...Object.fromEntries(Object.entries(given).filter(([, one]) => one !== undefined)),
      };
      const path = { job_id: id, task };
      return unwrap(client.GET("/jobs/{job_id}/explore/{task}", { params: { path, query }, signal }));
    },
    initialPageParam: (around === undefined ? {} : { around }) as Start,
    getNextPageParam: ({ next_cursor: cursor }: SampleCardPage): Start | null => (cursor ? { cursor } : null),
    getPreviousPageParam: ({ place }: SampleCardPage): Start | null =>
      place ? { place: Math.max(0, place - PAGE) } : null,
    // What is shown stays while another part of the same list is on its way.
    placeholderData: (data, query) => (list.every((one, index) => query?.queryKey[index] === one) ? data : undefined),
    staleTime: Number.POSITIVE_INFINITY,
    // Pages never change: to compare all of them with each new one would take longer the more there are.
    structuralSharing: false,
    retry: false,
  });
}

export function sampleQuery(id: string, task: string, document: string, filterName: string | undefined) {
  return queryOptions({
    queryKey: [...jobKey(id), "sample", task, document, filterName ?? ""] as const,
    queryFn: ({ signal }) => {
      const path = { job_id: id, task, doc_id: document };
      const query = filterName === undefined ? {} : { filter_name: filterName };
      return unwrap(client.GET("/jobs/{job_id}/samples/{task}/{doc_id}", { params: { path, query }, signal }));
    },
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
}

// There is none; no store; one that does not fit the samples.
const WITHOUT_INDEX = new Set([404, 501, 502]);

/** Whether an error means that these samples have no usable index: their pages are then read instead. */
export function hasNoIndex(error: unknown): error is ApiProblem {
  return error instanceof ApiProblem && WITHOUT_INDEX.has(error.status);
}
