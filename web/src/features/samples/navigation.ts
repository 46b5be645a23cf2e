// Ways between the samples of a list, by keys and buttons.

import { useNavigate } from "@tanstack/react-router";
import type { SampleRow } from "@/lib/sample";
import { leaveSample, type SampleView } from "@/lib/search";
import { useKeys } from "@/ui/keys";

interface Place {
  id: string;
  task: string;
  doc: string | undefined;
  view: SampleView;
  rows: SampleRow[];
  /** Which of them is shown; -1 for none. */
  at: number;
  /** Whether samples are judged yet. */
  scored: boolean;
}

export interface Ways {
  list: (view: SampleView) => void;
  step: (by: 1 | -1) => void;
  back: () => void;
}

export function useSampleNavigation({ id, task, doc, view, rows, at, scored }: Place): Ways {
  const navigate = useNavigate();
  const list = (search: SampleView) => void navigate({ to: "/runs/$id/samples/$task", params: { id, task }, search });
  const step = (by: 1 | -1) => {
    const next = rows[at < 0 && by < 0 ? rows.length - 1 : at + by];
    if (!next) return;
    const search = next.of === undefined ? leaveSample(view) : { ...leaveSample(view), of: next.of };
    void navigate({ to: "/runs/$id/samples/$task/$doc", params: { id, task, doc: next.key }, search });
  };
  const back = () => {
    if (doc !== undefined) list(leaveSample(view));
    else void navigate({ to: "/runs/$id", params: { id } });
  };
  const filter = (wanted: "wrong" | "empty") => {
    if (view.filter === wanted) step(1);
    else if (scored) list({ filter: wanted });
  };
  useKeys([
    { keys: "j", does: "Next sample", run: () => step(1) },
    { keys: "k", does: "Previous sample", run: () => step(-1) },
    { keys: "w", does: "Next wrong sample", run: () => filter("wrong") },
    { keys: "1", does: "Wrong samples", run: () => scored && list({ filter: "wrong" }) },
    { keys: "2", does: "Empty samples", run: () => list({ filter: "empty" }) },
    { keys: "0", does: "All samples", run: () => list({}) },
    { keys: "Escape", does: "Back to the list, or to the run", run: back },
  ]);
  return { list, step, back };
}
