import { expect, test } from "vitest";
import { type DiffPart, diffWords } from "@/lib/word_diff";

/** The parts as text, those that differ in brackets. */
const write = (parts: DiffPart[]) => parts.map(({ text, same }) => (same ? text : `[${text}]`)).join("");

test.each([
  ["a red cat", "a red cat", "a red cat", "a red cat"],
  ["a red cat", "a blue cat", "a [red] cat", "a [blue] cat"],
  ["one two three", "zero one three four five", "one [two] three", "[zero] one three [four five]"],
  ["", "new", "", "[new]"],
  ["3.14 m", "3.15 m", "[3.14] m", "[3.15] m"],
  ["(B)", "(C).", "([B])", "([C])[.]"],
  ["  spaces\n only", "spaces only", "  spaces\n only", "spaces only"],
  ["赤い猫", "青い猫", "[赤]い猫", "[青]い猫"],
  ["naïve e\u0301t\u00e9", "naive e\u0301t\u00e9", "[naïve] e\u0301t\u00e9", "[naive] e\u0301t\u00e9"],
])("%j and %j", (before, after, left, right) => {
  const found = diffWords(before, after);
  expect([write(found?.before ?? []), write(found?.after ?? [])]).toEqual([left, right]);
});

test("texts without a word in common are told", () => {
  expect(diffWords("a b", "c d")?.related).toBe(false);
  expect(diffWords("a b", "a d")?.related).toBe(true);
});

test("nothing is lost, whatever the texts are", () => {
  const texts = ["", " ", "\u202ea\u0000b", "<b>x</b> y", "\ud83d", "😀 😀", "x".repeat(20_000), "a b ".repeat(900)];
  for (const before of texts) {
    for (const after of texts) {
      const found = diffWords(before, after);
      expect(found?.before.map((part) => part.text).join("")).toBe(before);
      expect(found?.after.map((part) => part.text).join("")).toBe(after);
    }
  }
});

test("what is too long is not compared", () => {
  expect(diffWords("x".repeat(10_000_000), "x")).toBeNull();
  const many = (word: string) => `${word} `.repeat(1200);
  expect(diffWords(many("a"), many("b"))).toBeNull();
  // What is equal at both ends costs nothing.
  expect(diffWords(`${many("a")}b`, `${many("a")}c`)?.related).toBe(true);
});
