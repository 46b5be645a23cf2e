// Ways between the samples of a list, by keys and buttons.

import { useNavigate } from "@tanstack/react-router";
import type { SampleRow } from "@/lib/sample";
import { leaveSample, type SampleView, showOthers } from "@/lib/search";
import { useKeys } from "@/ui/keys";

interface Place {
  id: string;
  task: string;
  doc: string | undefined;
  view: SampleView;
  rows: SampleRow[];
  /** Which of them is shown; -1 for none. */
  at: number;
  /** With none of them shown: before which of them one is. */
  before?: number | undefined;
  /** Whether samples are judged yet. */
  scored: boolean;
}

export interface Ways {
  list: (view: SampleView) => void;
  previous: (() => void) | undefined;
  next: (() => void) | undefined;
  back: () => void;
}

export function useSampleNavigation({ id, task, doc, view, rows, at, before, scored }: Place): Ways {
  const navigate = useNavigate();
  const list = (search: SampleView) => void navigate({ to: "/runs/$id/samples/$task", params: { id, task }, search });
  const goTo = (row: SampleRow | undefined) => {
    if (!row) return undefined;
    const search = row.of === undefined ? leaveSample(view) : { ...leaveSample(view), of: row.of };
    return () => void navigate({ to: "/runs/$id/samples/$task/$doc", params: { id, task, doc: row.key }, search });
  };
  const neighbours = findNeighbours(rows.length, doc === undefined ? undefined : at, before);
  const [previous, next] = neighbours.map((index) => goTo(index === undefined ? undefined : rows[index]));
  const back = () => {
    if (doc !== undefined) list(leaveSample(view));
    else void navigate({ to: "/runs/$id", params: { id } });
  };
  const filter = (wanted: "wrong" | "empty") => {
    if (view.filter === wanted) next?.();
    else if (scored) list(showOthers(view, { filter: wanted }));
  };
  useKeys([
    { keys: "j", does: "Next sample", run: () => next?.() },
    { keys: "k", does: "Previous sample", run: () => previous?.() },
    { keys: "w", does: "Next wrong sample", run: () => filter("wrong") },
    { keys: "1", does: "Wrong samples", run: () => scored && list(showOthers(view, { filter: "wrong" })) },
    { keys: "2", does: "Empty samples", run: () => list(showOthers(view, { filter: "empty" })) },
    { keys: "0", does: "All samples", run: () => list(showOthers(view, {})) },
    { keys: "Escape", does: "Back to the list, or to the run", run: back },
  ]);
  return { list, previous, next, back };
}

/** The rows before and after the one at `at`; with none chosen, the last and the first. */
export function findNeighbours(
  count: number,
  at: number | undefined,
  before: number | undefined,
): [previous: number | undefined, next: number | undefined] {
  const within = (index: number) => (index >= 0 && index < count ? index : undefined);
  if (at === undefined) return [within(count - 1), within(0)];
  if (at >= 0) return [within(at - 1), within(at + 1)];
  // What is shown is none of them: either it is not loaded yet, or it would stand before this one.
  return before === undefined ? [undefined, undefined] : [within(before - 1), within(before)];
}
