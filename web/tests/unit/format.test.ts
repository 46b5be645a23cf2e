import { expect, test } from "vitest";
import { readAsOf } from "@/api/freshness";
import {
  formatAge,
  formatBytes,
  formatDuration,
  formatNumber,
  halfWidth,
  secondsBetween,
  spellReason,
} from "@/lib/format";

test.each([
  [0, "0 s"],
  [59.4, "59 s"],
  [60, "1 min"],
  [185, "3 min 5 s"],
  [7800, "2 h 10 min"],
  [90_000, "1 d 1 h"],
  [-5, "0 s"],
])("%d seconds are %s", (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

test.each([
  ["OutOfMemory", "out of memory"],
  ["GPUError", "GPU error"],
  ["Evaluating", "evaluating"],
  [null, ""],
])("the reason %s is spelled %j", (reason, text) => {
  expect(spellReason(reason)).toBe(text);
});

test("numbers have four digits, and an interval where there is an error", () => {
  expect([formatNumber(0.123456), formatNumber(1234567), formatNumber(1), formatNumber(null)]).toEqual([
    "0.1235",
    "1235000",
    "1",
    "n/a",
  ]);
  expect([halfWidth(0.1), halfWidth(null), halfWidth(Number.NaN)]).toEqual([0.196, null, null]);
});

test("times", () => {
  const now = Date.parse("2026-01-01T01:00:00Z");
  expect(formatAge("2026-01-01T00:57:00Z", now)).toBe("3 min ago");
  expect(formatAge("2026-01-01T01:00:05Z", now)).toBe("just now");
  expect(formatAge("no time", now)).toBe("");
  expect(secondsBetween("2026-01-01T00:59:00Z", now)).toBe(60);
  expect(secondsBetween(null, now)).toBeNull();
  expect([formatBytes(12), formatBytes(2048)]).toEqual(["12 B", "2.0 KiB"]);
});

test("what the front end answers is old from five seconds on", () => {
  expect([null, "", "0", "5", "odd", "Infinity"].map((age) => readAsOf(age, 100_000))).toEqual(Array(6).fill(null));
  expect(readAsOf("12", 100_000)).toBe(88_000);
});
