// The cache of what the API answered.

import { QueryClient } from "@tanstack/react-query";
import { ApiProblem } from "./problems";

const NETWORK_RETRIES = 2;

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // Streams and the reader's own changes say when something is old.
      staleTime: 10_000,
      // What the API refuses it refuses again; the notice counts down where it says when to come back.
      retry: (count, error) => !(error instanceof ApiProblem) && count < NETWORK_RETRIES,
    },
  },
});
