// Who is signed in, and what they may do: buttons that would be refused say so.

import { queryOptions, useQuery } from "@tanstack/react-query";
import { apiUrl } from "./base";
import { ApiProblem, readProblem } from "./problems";

export interface Me {
  name: string;
  authentication: "token" | "session" | "none";
  session_expires_at?: string | null;
  rights: { read: boolean; submit: boolean; change: boolean };
  cancels_running: boolean;
  version: string;
}

export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: async ({ signal }): Promise<Me> => {
    const response = await fetch(apiUrl("/me"), { signal, credentials: "same-origin" });
    const body: unknown = await response.json().catch(() => null);
    if (!response.ok) throw readProblem(response, body);
    if (typeof body !== "object" || body === null) throw new ApiProblem(response.status, "The answer is empty.");
    return body as Me;
  },
  staleTime: 60_000,
});

/** What the caller may do; everything while nobody knows, as the API decides anyway. */
export function useRights(): Me["rights"] {
  return useQuery(meQuery).data?.rights ?? { read: true, submit: true, change: true };
}
