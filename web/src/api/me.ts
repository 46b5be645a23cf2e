// Who is signed in, and what they may do: buttons that would be refused say so.

import { queryOptions, useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { client, unwrap } from "./client";
import type { components } from "./schema";

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: ({ signal }) => unwrap(client.GET("/me", { signal })),
  staleTime: 60_000,
  // In another tab somebody else may have signed in.
  refetchOnWindowFocus: "always",
});

/** Who is signed in. What an earlier account has read goes with it: the page is loaded anew for another one. */
export function useAccount() {
  const { data: me } = useQuery(meQuery);
  const before = useRef(me?.name);
  useEffect(() => {
    if (before.current !== undefined && me !== undefined && before.current !== me.name) location.reload();
    before.current ??= me?.name;
  }, [me]);
  return me;
}

/** What the caller may do; everything while nobody knows, as the API decides anyway. */
export function useRights(): components["schemas"]["Rights"] {
  return useQuery(meQuery).data?.rights ?? { read: true, submit: true, change: true };
}
