// Has the request checked by the cluster while one types, and nothing stored.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { submitRequest } from "@/api/submit";
import type { ReadDraft } from "@/lib/draft";

const PAUSE_MS = 400;

/** The value, as it was when it last did not change for a moment. */
export function useSettled<Value>(value: Value, key: string): Value {
  const [settled, setSettled] = useState(value);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the value differs whenever its key does.
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [key]);
  return settled;
}

export function useCheck({ request, problems }: ReadDraft) {
  const settled = useSettled(request, JSON.stringify(request));
  const isComplete = settled.model !== "" && settled.tasks.length > 0 && !Object.keys(problems).length;
  const query = useQuery({
    queryKey: ["check", settled],
    queryFn: ({ signal }) => submitRequest(settled, { dryRun: true, signal }),
    enabled: isComplete,
    placeholderData: keepPreviousData,
    retry: false,
    staleTime: 30_000,
    gcTime: 60_000,
  });
  return {
    ...query,
    isComplete,
    isCurrent: settled === request || JSON.stringify(settled) === JSON.stringify(request),
  };
}
