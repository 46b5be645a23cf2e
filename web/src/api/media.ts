// Why media do not come, as no longer kept: the element that shows them only tells that they do not.

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
        if (!response.ok) return readProblem(response, await response.json().catch(() => null)).message;
        void response.body?.cancel();
      } catch (error) {
        return describeError(error);
      }
      return "The browser cannot show this.";
    },
    retry: false,
  });
}
