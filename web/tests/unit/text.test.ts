import { describe, expect, test } from "vitest";
import { cut, oneLine, showControls, toText } from "@/lib/text";

describe("text of runs", () => {
  test.each([
    ["\u001b[31mred\u001b[0m", "␛[31mred␛[0m"],
    ["a\u0000b\u007f", "a␀b␡"],
    ["\u202eevil\u202c", "⟨U+202E⟩evil⟨U+202C⟩"],
    ["zero\u200bwidth", "zero⟨U+200B⟩width"],
    ["keeps\ttabs\nand lines", "keeps\ttabs\nand lines"],
    ["of\r\nWindows", "of\nWindows"],
    ["<script>alert(1)</script>", "<script>alert(1)</script>"],
  ])("%j is shown as %j", (text, shown) => {
    expect(showControls(text)).toBe(shown);
  });

  test("no pair of surrogates is cut in half", () => {
    expect(cut("a😀b", 2)).toBe("a");
    expect(cut("a😀b", 3)).toBe("a😀");
    expect(cut("abc", 3)).toBe("abc");
  });

  test("one line of ten megabytes is short", () => {
    const line = oneLine("x".repeat(10_000_000), 50);
    expect(line).toBe(`${"x".repeat(50)}…`);
    expect(oneLine("  a\n\n b ")).toBe("a b");
  });

  test("values are texts", () => {
    expect([toText(null), toText(0), toText(false), toText("a"), toText(["a"])]).toEqual([
      "",
      "0",
      "false",
      "a",
      '[\n "a"\n]',
    ]);
  });
});
