// Who is signed in, and what they may do: buttons that would be refused say so.

import { queryOptions, useQuery } from "@tanstack/react-query";
import { client, unwrap } from "./client";
import type { components } from "./schema";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => unwrap(client.GET("/me", { signal })),
  staleTime: 60_000,
});

/** What the caller may do; everything while nobody knows, as the API decides anyway. */
export function useRights(): components["schemas"]["Rights"] {
  return useQuery(meQuery).data?.rights ?? { read: true, submit: true, change: true };
}
