// The scores of a run as rows, with their 95 % intervals.

import { halfWidth } from "./format";

export interface ScoreRow {
  task: string;
  metric: string;
  /** Of lmms-eval's filter, as strict-match; "none" is left out. */
  filter: string;
  value: number | null;
  half: number | null;
}

function readNumber(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** What lmms-eval calls metric,filter, in its parts; its filter "none" is none. */
function splitKey(key: string): { metric: string; filter: string } {
  const comma = key.lastIndexOf(",");
  const filter = comma < 0 ? "" : key.slice(comma + 1);
  return { metric: comma < 0 ? key : key.slice(0, comma), filter: filter === "none" ? "" : filter };
}

/** A metric with its filter, for one line. */
export function nameMetric(key: string): string {
  const { metric, filter } = splitKey(key);
  return filter ? `${metric} ${filter}` : metric;
}

/** All metrics of all tasks, in the order of the results file. Keys are as lmms-eval writes them: metric,filter. */
export function listScores(scores: Record<string, unknown>): ScoreRow[] {
  return Object.entries(scores).flatMap(([task, metrics]) =>
    Object.entries((metrics ?? {}) as Record<string, { value?: unknown; stderr?: unknown } | null>).map(
      ([key, score]) => ({
        task,
        ...splitKey(key),
        value: readNumber(score?.value),
        half: halfWidth(readNumber(score?.stderr)),
      }),
    ),
  );
}

/** The rows whose numbers lie between 0 and 1 can be drawn on one axis. */
export function isFraction({ value }: ScoreRow): boolean {
  return value !== null && value >= 0 && value <= 1;
}
