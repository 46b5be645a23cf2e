import { expect, test } from "vitest";
import { groupByField } from "@/lib/field_problems";
import { listScores, nameMetric } from "@/lib/scores";
import { leaveSample, readJobFilter, readRunSearch, readSampleSearch, showOthers } from "@/lib/search";

test("only what the page knows is read from an address", () => {
  expect(readJobFilter({ status: ["running", "odd"], model: 7, task: { a: 1 }, label: "run=7", other: 1 })).toEqual({
    status: ["running"],
    model: "7",
    label: ["run=7"],
  });
  expect(readJobFilter({ status: "odd" })).toEqual({});
  expect(readRunSearch({ tab: "log", attempt: 2 })).toEqual({ tab: "log", attempt: 2 });
  expect(readRunSearch({ tab: "nope", attempt: -1 })).toEqual({});
  expect(readSampleSearch({ filter: "wrong", sort: "-acc" })).toEqual({ filter: "wrong", sort: "-acc" });
  // A search has no other order than the file's.
  expect(readSampleSearch({ filter: "odd", q: 7, sort: "-acc", of: "x" })).toEqual({ q: "7", of: "x" });
  expect(readSampleSearch({ view: "grid" })).toEqual({ view: "grid" });
  expect(readSampleSearch({ view: "list" })).toEqual({});
  expect(showOthers({ view: "grid", q: "x" }, { filter: "wrong" })).toEqual({ filter: "wrong", view: "grid" });
  expect(leaveSample({ filter: "wrong", q: undefined, of: "x" })).toEqual({ filter: "wrong" });
});

test("refusals find their fields", () => {
  const errors = [
    { pointer: "/limit", detail: "must be greater than 0" },
    { pointer: "/model_args/a~1b", detail: "no list" },
    { pointer: "/volumes/0/claim_name", detail: "no such claim" },
  ];
  expect(groupByField(errors, new Set(["limit", "model_args"]))).toEqual({
    fields: { limit: "must be greater than 0", model_args: "a/b: no list" },
    rest: ["volumes.0.claim_name: no such claim"],
  });
});

test("scores with their intervals", () => {
  const scores = { mme: { "acc,none": { value: 0.5, stderr: 0.1 }, "score,strict,x": { value: "n/a" } }, odd: null };
  expect(listScores(scores)).toEqual([
    { task: "mme", metric: "acc", filter: "", value: 0.5, half: 0.196 },
    { task: "mme", metric: "score,strict", filter: "x", value: null, half: null },
  ]);
  expect(["acc,none", "acc,strict", "acc"].map(nameMetric)).toEqual(["acc", "acc strict", "acc"]);
});
