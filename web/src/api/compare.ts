// Comparing runs: each of them with one, the baseline.

import { queryOptions } from "@tanstack/react-query";
import { client, unwrap } from "./client";

export function compareQuery(base: string, others: string[]) {
  const [first = "", ...candidate] = others;
  return queryOptions({
    queryKey: ["compare", base, ...others] as const,
    queryFn: ({ signal }) => {
      const query = { baseline: [base], candidate };
      return unwrap(client.GET("/jobs/{job_id}/compare", { params: { path: { job_id: first }, query }, signal }));
    },
    enabled: others.length > 0,
    // Jobs that have ended never change.
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
}
