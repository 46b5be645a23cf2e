// Why a medium does not come: an element that shows one only tells that it does not.

import { queryOptions } from "@tanstack/react-query";
import { mediaPath } from "@/lib/media";
import { apiUrl } from "./base";
import { describeError, readProblem } from "./problems";

export function tellMediaProblem(job: string, digest: string) {
  return queryOptions({
    queryKey: ["media", job, digest],
    queryFn: async ({ signal }) => {
      try {
        const response = await fetch(apiUrl(mediaPath(job, digest)), { signal });
        void response.body?.cancel();
        if (response.status === 404) return "This is no longer kept.";
        if (!response.ok) return readProblem(response, null).message;
      } catch (error) {
        return describeError(error);
      }
      return "The browser cannot show this.";
    },
    retry: false,
  });
}
