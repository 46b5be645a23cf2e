import { expect, test } from "vitest";
import type { JobSummary } from "@/api/client";
import { byPosition, isListed, type JobPages, listJobs, mergeJob, removeJob, setPositions } from "@/lib/job_pages";

function job(id: string, minute: number, fields: Partial<JobSummary> = {}): JobSummary {
  return {
    job_id: id,
    status: "queued",
    created_at: `2026-01-01T00:${String(minute).padStart(2, "0")}:00Z`,
    model: "vllm",
    tasks: ["mme"],
    priority: 0,
    hold: false,
    suspect: false,
    ...fields,
  };
}

function pages(...lists: JobSummary[][]): JobPages {
  const made = lists.map((jobs, index) => ({ jobs, next_cursor: index < lists.length - 1 ? String(index) : null }));
  return { pages: made, pageParams: made.map(() => null) };
}

const ids = (list: JobPages) => list.pages.map((page) => page.jobs.map((one) => one.job_id));

test("a job is replaced where it stands, and leaves a list that holds it no more", () => {
  const before = pages([job("c", 3)], [job("b", 2), job("a", 1)]);
  const changed = mergeJob(before, job("b", 2, { priority: 9 }), true);
  expect(ids(changed)).toEqual([["c"], ["b", "a"]]);
  expect(listJobs(changed)[1]?.priority).toBe(9);
  expect(ids(mergeJob(before, job("b", 2), false))).toEqual([["c"], ["a"]]);
  expect(ids(removeJob(before, "c"))).toEqual([[], ["b", "a"]]);
  expect(mergeJob(before, job("new", 9), false)).toBe(before);
});

test("a new job comes where its age puts it; behind the last loaded page it waits for that page", () => {
  const before = pages([job("d", 4), job("c", 3)], [job("a", 1)]);
  expect(ids(mergeJob(before, job("new", 9), true))).toEqual([["new", "d", "c"], ["a"]]);
  expect(ids(mergeJob(before, job("b", 2), true))).toEqual([
    ["d", "c"],
    ["b", "a"],
  ]);
  expect(ids(mergeJob(before, job("old", 0), true))).toEqual([
    ["d", "c"],
    ["a", "old"],
  ]);
  const more: JobPages = { pages: [{ jobs: [job("d", 4)], next_cursor: "x" }], pageParams: [null] };
  expect(mergeJob(more, job("old", 0), true)).toBe(more);
  expect(ids(mergeJob(pages([]), job("a", 1), true))).toEqual([["a"]]);
});

test("a filter holds what GET /jobs would list", () => {
  const one = job("a", 1, { labels: { run: "7", "x/y": "" } });
  expect(isListed(one, "queued", {})).toBe(true);
  expect(isListed(one, "running", {})).toBe(false);
  expect(isListed(one, "queued", { status: ["failed"] })).toBe(false);
  expect(isListed(one, "queued", { model: "llava_hf" })).toBe(false);
  expect(isListed(one, "queued", { task: "mme", label: ["run", "run=7"] })).toBe(true);
  expect(isListed(one, "queued", { label: ["run=8"] })).toBe(false);
});

test("the queue is in its order; what has no place is last", () => {
  const before = pages([job("a", 1), job("b", 2), job("c", 3, { hold: true })]);
  const placed = setPositions(
    before,
    new Map([
      ["b", 0],
      ["a", 1],
    ]),
  );
  expect(
    listJobs(placed)
      .sort(byPosition)
      .map((one) => one.job_id),
  ).toEqual(["b", "a", "c"]);
});
