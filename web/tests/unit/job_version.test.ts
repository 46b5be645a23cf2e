import { expect, test } from "vitest";
import { applyEvent, keepNewer, readVersion, type VersionedJob } from "@/lib/job_version";

const job = (version: number, fields: Partial<VersionedJob> = {}) =>
  ({ job_id: "a", status: "running", version, ...fields }) as VersionedJob;

test("an answer of before replaces nothing that the stream has told", () => {
  const told = job(7, { status: "completed" });
  expect(keepNewer(told, job(6))).toMatchObject({ status: "completed", version: 7 });
  expect(keepNewer(told, job(7, { status: "failed" }))).toMatchObject({ status: "failed" });
  expect(keepNewer(undefined, job(6))).toEqual(job(6));
  // A front end of before tells no version: the last answer counts.
  expect(keepNewer(told, job(0))).toEqual(job(0));
});

test("an event of before replaces nothing that an answer has told", () => {
  const answered = job(7, { status: "completed", output: { a: 1 } });
  expect(applyEvent(answered, job(6))).toBe(answered);
  expect(applyEvent(answered, job(8))).toMatchObject({ version: 8, output: { a: 1 }, samples: null });
  expect(applyEvent(undefined, job(1))).toMatchObject({ version: 1, output: null });
});

test.each([
  ["123.4", 123],
  ["123.", 123],
  ["", 0],
  ["odd", 0],
])("the event %j has version %i", (id, version) => {
  expect(readVersion(id)).toBe(version);
});
