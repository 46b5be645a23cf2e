import { expect, test } from "vitest";
import { draftOf, emptyDraft, readDraft } from "@/lib/draft";
import { parsePairs, parseScalar, splitList } from "@/lib/pairs";

test("a request that is repeated asks for the same", () => {
  const request = {
    model: "vllm",
    tasks: ["mme", "mmmu_val"],
    model_args: { pretrained: "a/b", version: "7" },
    limit: 0.5,
    batch_size: "auto:2",
    log_samples: false,
    labels: { run: "7" },
    volumes: [{ claim_name: "c", mount_path: "/data", read_only: true }],
  };
  const { request: read, problems } = readDraft(draftOf({ ...request, name: "before", device: null }));
  expect(problems).toEqual({});
  expect(read).toEqual(request);
});

test("what cannot be sent is told at its field", () => {
  const draft = { ...emptyDraft(), model: "a", model_args: "pretrained", texts: { limit: "many" } };
  expect(Object.keys(readDraft(draft).problems).sort()).toEqual(["limit", "model_args"]);
  expect(readDraft({ ...draft, model_args: "{", texts: {} }).problems.model_args).toMatch(/JSON/);
});

test("pairs are read as lmmeval reads them", () => {
  expect(splitList('a=1,b="x,y",c={"d":[1,2]},')).toEqual(["a=1", 'b="x,y"', 'c={"d":[1,2]}']);
  expect(["true", "FALSE", "7", "1e3", "-0.5", "1.", "nan", "0x10", "7b"].map(parseScalar)).toEqual([
    true,
    false,
    7,
    1000,
    -0.5,
    1,
    "nan",
    "0x10",
    "7b",
  ]);
  expect(parseScalar("12345678901234567890")).toBe("12345678901234567890");
  expect(parsePairs('{"a": null}')).toEqual({ a: null });
});
