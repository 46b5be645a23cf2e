import { expect, test } from "vitest";
import { findNeighbours } from "@/features/samples/navigation";

test.each([
  // With none chosen, the last and the first.
  [3, undefined, undefined, [2, 0]],
  [0, undefined, undefined, [undefined, undefined]],
  [3, 0, undefined, [undefined, 1]],
  [3, 2, undefined, [1, undefined]],
  // What is not in the list stands between two of it, or nobody knows where.
  [3, -1, 1, [0, 1]],
  [3, -1, 0, [undefined, 0]],
  [3, -1, 3, [2, undefined]],
  [3, -1, undefined, [undefined, undefined]],
])("of %i, beside %s before %s", (count, at, before, expected) => {
  expect(findNeighbours(count, at, before)).toEqual(expected);
});
