import { expect, test } from "vitest";
import type { SampleCard } from "@/api/client";
import { readCard, readDetail, readSample, summarise } from "@/lib/sample";

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
    media: [],
    media_more: 0,
  };
  expect(readCard(card)).toEqual({
    key: "12",
    of: undefined,
    row: 7,
    verdict: "empty",
    summary: "What?",
    media: undefined,
  });
  const unnamed = { ...card, doc_id: null, filter: "strict", flags: [], answer: "yes" };
  expect(readCard(unnamed)).toMatchObject({ key: "#8", of: "strict", verdict: null, summary: "yes" });
});

test("only cards and live answers have media of ours", () => {
  const media = [{ kind: "image", thumb: "0".repeat(64) }];
  const sample = { doc_id: 1, filtered_resps: ["four"], media };
  expect(readSample(sample, 0).media).toEqual([]);
  const card = { row: 0, doc_id: 1, length: 4, tokens: 2, media, media_more: 3 } as unknown as SampleCard;
  expect(readDetail({ card, sample })).toMatchObject({ media, mediaMore: 3, length: 4, tokens: 2, time: undefined });
  const live = {
    document: 1,
    answer: "four",
    scored: false,
    tokens: { output: 9 },
    time: "2026-01-01T00:00:00Z",
    media,
  };
  expect(readSample(live, 0)).toMatchObject({ media, tokens: 9, time: "2026-01-01T00:00:00Z", rest: [] });
  expect(summarise(readSample(live, 0), 5)).toMatchObject({ row: 5, media: media[0] });
});
