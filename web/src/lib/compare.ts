// Comparing runs: which, as an address says, and what a comparison amounts to. Pure.

import type { ComparedMetric, ComparisonFinding, JobComparison, RunComparison } from "@/api/client";
import { formatNumber } from "./format";

/** The API compares no more at once. */
export const MOST_RUNS = 5;

/** What became of a sample; the first is shown where nothing else is asked for. */
export const FLIPS = ["lost", "won", "both_wrong"] as const;
export type Flip = (typeof FLIPS)[number];
export const FLIP_WORDS: Record<Flip, string> = { lost: "lost", won: "won", both_wrong: "both wrong" };

export interface CompareSearch {
  /** Names, with a comma between them. */
  runs?: string | undefined;
  /** One of them; without it, the first. */
  base?: string | undefined;
}

/** The names in an address: each once, and no more than can be compared. */
export function listRuns(runs: string | undefined): string[] {
  const names = (runs ?? "").split(",").map((name) => name.trim());
  return [...new Set(names.filter(Boolean))].slice(0, MOST_RUNS);
}

/** The run that the others are compared with, and these. */
export function chooseBase({ runs, base }: CompareSearch): { base: string | undefined; others: string[] } {
  const names = listRuns(runs);
  const chosen = base !== undefined && names.includes(base) ? base : names[0];
  return { base: chosen, others: names.filter((name) => name !== chosen) };
}

/** The names with this one, or without it; null where there is no room for it. */
export function toggleRun(runs: string | undefined, name: string): string | undefined | null {
  const names = listRuns(runs);
  if (!names.includes(name)) return names.length < MOST_RUNS ? [...names, name].join(",") : null;
  return names.filter((one) => one !== name).join(",") || undefined;
}

/** What a comparison of a metric amounts to. */
export type Outcome = "better" | "worse" | "noise" | "chance" | "open" | "point" | "refused" | "missing";

export const OUTCOMES: Record<Outcome, { sign: string; word: string; why: string }> = {
  better: { sign: "▲", word: "better", why: "The adjusted p is below 0.05." },
  worse: { sign: "▼", word: "worse", why: "The adjusted p is below 0.05." },
  noise: { sign: "≈", word: "within noise", why: "The interval holds 0." },
  chance: { sign: "≈", word: "may be chance", why: "Among so many comparisons, one like this is no surprise." },
  open: { sign: "?", word: "no conclusion", why: "There are numbers, and something speaks against comparing them." },
  point: { sign: "–", word: "no interval", why: "The metric is no mean of its samples' values." },
  refused: { sign: "⊘", word: "not comparable", why: "There is no comparison." },
  missing: { sign: "–", word: "not in both runs", why: "There is nothing to compare." },
};

/** `findings` are all that concern the metric: its own, those of its task, and those of the runs. */
export function judgeMetric(metric: ComparedMetric | undefined, findings: ComparisonFinding[]): Outcome {
  if (!metric) return "missing";
  if (findings.some((finding) => finding.effect === "refused")) return "refused";
  if (typeof metric.difference !== "number") return "point";
  if (findings.some((finding) => finding.effect === "inconclusive")) return "open";
  if (metric.conclusion !== "unclear") return metric.conclusion;
  const { lower, upper } = metric;
  return typeof lower === "number" && typeof upper === "number" && (lower > 0 || upper < 0) ? "chance" : "noise";
}

/** A metric in one of the runs that are compared with the baseline. */
export interface ComparedCell {
  run: string;
  metric: ComparedMetric | undefined;
  outcome: Outcome;
}

export interface MetricRow {
  metric: string;
  filter: string;
  lowerIsBetter: boolean;
  baseline: number | null;
  cells: ComparedCell[];
}

export interface TaskTable {
  task: string;
  rows: MetricRow[];
  /** By run: what was paired, and what speaks against it. */
  notes: { run: string; documents: string; findings: ComparisonFinding[] }[];
}

/** A table for each task that the baseline has in common with a run. */
export function listTables(comparisons: RunComparison[]): TaskTable[] {
  const names = new Set(comparisons.flatMap((one) => one.tasks.map((task) => task.task)));
  return [...names].map((name) => {
    const found = comparisons.map((of) => ({ of, task: of.tasks.find((task) => task.task === name) }));
    const metrics = new Map(
      found.flatMap(({ task }) => (task?.metrics ?? []).map((one) => [`${one.metric},${one.filter}`, one] as const)),
    );
    return {
      task: name,
      rows: [...metrics].map(([key, first]) => ({
        metric: first.metric,
        filter: first.filter,
        lowerIsBetter: first.lower_is_better,
        baseline: first.baseline,
        cells: found.map(({ of, task }) => {
          const metric = task?.metrics.find((one) => `${one.metric},${one.filter}` === key);
          const against = [...(of.findings ?? []), ...(task?.findings ?? []), ...(metric?.findings ?? [])];
          return { run: of.candidate, metric, outcome: judgeMetric(metric, against) };
        }),
      })),
      notes: found.map(({ of, task }) => ({
        run: of.candidate,
        documents: describeDocuments(task?.documents),
        findings: uniteFindings([
          ...(task?.findings ?? []),
          ...(task?.metrics ?? []).flatMap((one) => one.findings ?? []),
        ]),
      })),
    };
  });
}

/** Each finding once: metrics of a task often have the same one. */
function uniteFindings(findings: ComparisonFinding[]): ComparisonFinding[] {
  return [...new Map(findings.map((finding) => [finding.message, finding])).values()];
}

const number = (value: number) => value.toLocaleString("en");

function describeDocuments(counts: RunComparison["tasks"][number]["documents"] | undefined): string {
  if (!counts) return "no documents are paired";
  const parts = [`${number(counts.pairs)} ${counts.pairs === 1 ? "document" : "documents"} paired`];
  const unpaired = (counts.only_baseline ?? 0) + (counts.only_candidate ?? 0);
  if (unpaired) parts.push(`${number(unpaired)} in one run only`);
  if (counts.other_target) parts.push(`${number(counts.other_target)} with another target left out`);
  if (counts.other_prompt) parts.push(`${number(counts.other_prompt)} with another prompt`);
  return parts.join(", ");
}

/** A difference with its sign, which is above 0 where the run is better. */
export function formatChange(value: number | null | undefined): string {
  if (typeof value !== "number" || !Number.isFinite(value)) return "n/a";
  const shown = formatNumber(Math.abs(value));
  if (shown === "0") return "0";
  return `${value < 0 ? "−" : "+"}${shown}`;
}

export function formatP(p: number | null | undefined): string {
  if (typeof p !== "number" || !Number.isFinite(p)) return "";
  return p < 0.001 ? "< 0.001" : String(Number(p.toPrecision(2)));
}

/** The largest number that a drawing of these has to show, to either side of 0. */
export function findReach(cells: ComparedCell[]): number {
  const ends = cells.flatMap(({ metric }) => [metric?.lower, metric?.upper, metric?.difference]);
  return Math.max(0, ...ends.map((end) => (typeof end === "number" && Number.isFinite(end) ? Math.abs(end) : 0)));
}

/** What reruns among the jobs changed, a sentence for each task. */
export function describeReruns(comparison: JobComparison): { key: string; sentence: string }[] {
  return (comparison.reruns ?? []).flatMap((pair) =>
    pair.tasks.flatMap(({ task, metrics }) => {
      const first = metrics.find((metric) => metric.first);
      if (!first?.pairs) return [];
      const changed = (first.lost ?? 0) + (first.won ?? 0);
      const documents = `${number(changed)} of ${number(first.pairs)} documents`;
      const mean = `the mean changed by ${formatChange(first.difference)}`;
      const sentence = `${pair.candidate} against ${pair.baseline}, ${task}: ${documents} got another ${first.metric}, and ${mean}.`;
      return [{ key: `${pair.baseline} ${pair.candidate} ${task}`, sentence }];
    }),
  );
}
