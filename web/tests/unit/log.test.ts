import { expect, test } from "vitest";
import { appendText, endText, MAX_LINES, NO_LINES } from "@/features/log/log_lines";

test("lines come in pieces", () => {
  const log = appendText(appendText(NO_LINES, "one\ntw"), "o\r\n\u001b[1mthree");
  expect(log.lines).toEqual(["one", "two"]);
  expect(endText(log).lines).toEqual(["one", "two", "␛[1mthree"]);
});

test("a long log and a long line take bounded memory", () => {
  const log = appendText(NO_LINES, "x\n".repeat(MAX_LINES + 5));
  expect([log.lines.length, log.dropped]).toEqual([MAX_LINES, 5]);
  const line = appendText(NO_LINES, `${"y".repeat(10_000_000)}\n`).lines[0] ?? "";
  expect(line.length).toBeLessThan(5_000);
});
