// What a list and a grid of samples have in common.

import type { SampleRow } from "@/lib/sample";
import type { SampleView } from "@/lib/search";
import type { LoadedSamples } from "./virtual_rows";

export interface ListProps {
  samples: SampleRow[];
  /** How many samples of the list come before these. */
  first: number;
  /** How many there are in all, where that is known. */
  total: number | undefined;
  at: number;
  params: { id: string; task: string };
  view: SampleView;
  hasMore: boolean;
  onMore: () => void;
  onBefore: () => void;
}

export function describeLoaded({ samples, first, at, hasMore, onMore, onBefore }: ListProps): LoadedSamples {
  return { first, count: samples.length, at, hasMore, onMore, onBefore };
}

/** As aria-setsize has it: -1 where nobody knows. */
export function setSize({ samples, first, total, hasMore }: ListProps): number {
  return total ?? (hasMore ? -1 : first + samples.length);
}

/** Where a sample's link leads: to it, in the list that it is in. */
export function linkSample({ key, of }: SampleRow, params: ListProps["params"], view: SampleView) {
  return {
    to: "/runs/$id/samples/$task/$doc" as const,
    params: { ...params, doc: key },
    search: of === undefined ? view : { ...view, of },
  };
}
