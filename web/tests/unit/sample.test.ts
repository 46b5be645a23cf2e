import { expect, test } from "vitest";
import type { SampleCard } from "@/api/client";
import { readCard, readSample } from "@/lib/sample";

test("a sample of lmms-eval's file", () => {
  const sample = readSample(
    {
      doc_id: 3,
      input: "What?",
      target: "A",
      resps: [["The answer is A"]],
      filtered_resps: ["A"],
      exact_match: 1,
      judged: { score: 0.5 },
      doc_hash: "x",
      note: "more",
    },
    0,
  );
  expect(sample).toMatchObject({ key: "3", prompt: "What?", target: "A", answer: "A", raw: "The answer is A" });
  expect(sample.metrics).toEqual([
    ["exact_match", 1],
    ["judged", 0.5],
  ]);
  expect(sample.rest).toEqual([["note", "more"]]);
  expect(sample.verdict).toBeNull();
});

test("a live answer is not judged", () => {
  const answer = { task: "mme", document: "d/1", prompt: "What?", answer: "A", scored: false, attempt: 1 };
  expect(readSample(answer, 0)).toMatchObject({ key: "d/1", answer: "A", metrics: [], verdict: null });
});

test.each([
  [{ filtered_resps: ["A"], score: 1 }, "right"],
  [{ filtered_resps: ["A"], score: 0 }, "wrong"],
  [{ filtered_resps: [" "], score: 0 }, "empty"],
  [{ filtered_resps: ["A"], score: 0.3 }, null],
  [{ filtered_resps: ["A"] }, null],
])("%j is %s", (sample, verdict) => {
  expect(readSample(sample, 0).verdict).toBe(verdict);
});

test.each([[null], ["text"], [7], [[]], [{}], [{ doc_id: { a: 1 }, target: { b: [] }, filtered_resps: 7 }]])(
  "%j is shown, whatever it is",
  (value) => {
    expect(readSample(value, 4).key).toBe("#5");
  },
);

test("a card is one line of the list, with what its flags say most", () => {
  const card: SampleCard = {
    row: 7,
    doc_id: 12,
    filter: null,
    flags: ["wrong", "empty"],
    prompt: "What?",
    target: "",
    answer: " ",
    length: 0,
    tokens: null,
    metrics: {},
  };
  expect(readCard(card)).toEqual({ key: "12", of: undefined, verdict: "empty", summary: "What?" });
  const unnamed = { ...card, doc_id: null, filter: "strict", flags: [], answer: "yes" };
  expect(readCard(unnamed)).toEqual({ key: "#8", of: "strict", verdict: null, summary: "yes" });
});
