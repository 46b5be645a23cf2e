import { expect, test } from "vitest";
import type { ComparedMetric, JobComparison, RunComparison } from "@/api/client";
import {
  chooseBase,
  describeReruns,
  findReach,
  formatChange,
  formatP,
  judgeMetric,
  listRuns,
  listTables,
  toggleRun,
} from "@/lib/compare";
import { haveSameMedia, readMedia } from "@/lib/media";
import { keepPicks, readCompareSearch, readFlipSearch, readRunsSearch } from "@/lib/search";

const metric = (fields: Partial<ComparedMetric> = {}) =>
  ({
    metric: "acc",
    filter: "none",
    first: true,
    lower_is_better: false,
    baseline: 0.5,
    candidate: 0.6,
    difference: 0.1,
    lower: 0.05,
    upper: 0.15,
    p: 0.001,
    conclusion: "better",
    pairs: 100,
    lost: 2,
    won: 12,
    ...fields,
  }) as ComparedMetric;
const finding = (effect: "refused" | "inconclusive" | "warning", message = "why") => ({ effect, reason: "R", message });

test("an address names runs once, and no more than can be compared", () => {
  expect(listRuns("b, a,,b,c,d,e,f")).toEqual(["b", "a", "c", "d", "e"]);
  expect(listRuns(undefined)).toEqual([]);
  expect(chooseBase({ runs: "a,b,c", base: "b" })).toEqual({ base: "b", others: ["a", "c"] });
  expect(chooseBase({ runs: "a,b", base: "x" })).toEqual({ base: "a", others: ["b"] });
  expect(chooseBase({})).toEqual({ base: undefined, others: [] });
  expect(toggleRun(undefined, "a")).toBe("a");
  expect(toggleRun("a,b", "a")).toBe("b");
  expect(toggleRun("a", "a")).toBeUndefined();
  expect(toggleRun("a,b,c,d,e", "f")).toBeNull();
});

test("what is picked stays while the filter changes", () => {
  expect(readRunsSearch({ task: "mme", pick: "a,b", odd: 1 })).toEqual({ task: "mme", pick: "a,b" });
  expect(keepPicks({ task: "mme" }, "a")).toEqual({ task: "mme", pick: "a" });
  expect(keepPicks({}, undefined)).toEqual({});
  expect(readCompareSearch({ runs: 7, base: { a: 1 } })).toEqual({ runs: "7" });
  expect(readFlipSearch({ runs: "a,b", flip: "odd", metric: "acc" })).toEqual({ runs: "a,b", metric: "acc" });
  expect(readFlipSearch({ flip: "both_wrong", of: "none", against: "b" })).toEqual({
    flip: "both_wrong",
    of: "none",
    against: "b",
  });
});

test.each([
  [metric(), [], "better"],
  [metric({ conclusion: "worse" }), [finding("warning")], "worse"],
  [metric({ conclusion: "unclear", lower: -0.1 }), [], "noise"],
  [metric({ conclusion: "unclear" }), [], "chance"],
  [metric({ conclusion: "unclear" }), [finding("inconclusive")], "open"],
  [metric({ difference: null, conclusion: "unclear" }), [], "point"],
  [metric({ difference: null }), [finding("inconclusive"), finding("refused")], "refused"],
  [undefined, [], "missing"],
])("a metric amounts to one thing", (found, findings, outcome) => {
  expect(judgeMetric(found, findings)).toBe(outcome);
});

const comparison = (candidate: string, fields: Partial<RunComparison["tasks"][number]> = {}) =>
  ({
    baseline: "main",
    candidate,
    findings: [],
    tasks: [
      {
        task: "mme",
        documents: { pairs: 1000, only_baseline: 1, only_candidate: 0, other_target: 2, other_prompt: 3 },
        findings: [],
        metrics: [metric()],
        ...fields,
      },
    ],
    only_baseline: [],
    only_candidate: [],
  }) as unknown as RunComparison;

test("a table has a row for each metric, and a cell for each run", () => {
  const refused = comparison("c", {
    documents: null,
    findings: [finding("refused", "other version"), finding("refused", "other version")],
    metrics: [metric({ difference: null }), metric({ metric: "wer", difference: null })],
  });
  const [table, ...others] = listTables([comparison("b"), refused]);
  expect(others).toEqual([]);
  expect(table?.rows.map((row) => [row.metric, row.cells.map((cell) => [cell.run, cell.outcome])])).toEqual([
    [
      "acc",
      [
        ["b", "better"],
        ["c", "refused"],
      ],
    ],
    [
      "wer",
      [
        ["b", "missing"],
        ["c", "refused"],
      ],
    ],
  ]);
  expect(table?.notes.map((note) => [note.documents, note.findings.length])).toEqual([
    ["1,000 documents paired, 1 in one run only, 2 with another target left out, 3 with another prompt", 0],
    ["no documents are paired", 1],
  ]);
  expect(findReach(table?.rows.flatMap((row) => row.cells) ?? [])).toBe(0.15);
});

test("what a rerun changes is a sentence for each task", () => {
  const reruns = [comparison("again"), comparison("odd", { metrics: [metric({ pairs: 0 })] })];
  expect(describeReruns({ reruns } as unknown as JobComparison).map((one) => one.sentence)).toEqual([
    "again against main, mme: 14 of 100 documents got another acc, and the mean changed by +0.1.",
  ]);
});

test("numbers", () => {
  expect([0.12345, -0.5, 0, 1e-9, null, Number.NaN].map(formatChange)).toEqual([
    "+0.1235",
    "−0.5",
    "0",
    "+1e-9",
    "n/a",
    "n/a",
  ]);
  expect([0.0004, 0.0456, 1, null].map(formatP)).toEqual(["< 0.001", "0.046", "1", ""]);
});

test("media are the same where what is kept is", () => {
  const image = (digest: string) => readMedia([{ kind: "image", display: digest.repeat(32), width: 64, height: 48 }]);
  expect(haveSameMedia(image("ab"), image("ab"))).toBe(true);
  expect(haveSameMedia(image("ab"), image("ac"))).toBe(false);
  expect(haveSameMedia(image("ab"), [])).toBe(false);
  expect(haveSameMedia([], [])).toBe(true);
});
