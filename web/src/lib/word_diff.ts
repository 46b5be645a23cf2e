// Which words of two texts differ: a longest common subsequence, bounded, as texts of runs may be of any size.

export interface DiffPart {
  text: string;
  /** Whether the other text has it too, at this place. */
  same: boolean;
}

export interface WordDiff {
  before: DiffPart[];
  after: DiffPart[];
  /** Whether they have any word in common. */
  related: boolean;
}

const MAX_CHARACTERS = 20_000;
// Of the table: two bytes each, filled in some milliseconds.
const MAX_CELLS = 1_000_000;
// Of each text: each is an element of the page.
const MAX_PARTS = 500;
// Scripts that put no spaces between words: there, each character counts.
const NO_SPACES =
  "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}";
const PIECES = new RegExp(`\\s+|\\p{N}+(?:[.,]\\p{N}+)+|(?:(?![${NO_SPACES}])[\\p{L}\\p{N}\\p{M}_])+|[^\\s]`, "gu");

/** The parts of both texts; null where they are too long, or have too many differences. */
export function diffWords(before: string, after: string): WordDiff | null {
  if (before.length > MAX_CHARACTERS || after.length > MAX_CHARACTERS) return null;
  const [left, right] = [split(before), split(after)];
  const [own, other] = [left.filter(isWord), right.filter(isWord)];
  const found = match(own, other);
  if (!found) return null;
  const parts = { before: join(left, found.left), after: join(right, found.right) };
  if (Math.max(parts.before.length, parts.after.length) > MAX_PARTS) return null;
  return { ...parts, related: found.left.includes(true) };
}

const split = (text: string): string[] => text.match(PIECES) ?? [];
const isWord = (piece: string): boolean => piece.trim() !== "";

/** For each word whether it is in the common subsequence. */
function match(left: string[], right: string[]): { left: boolean[]; right: boolean[] } | null {
  const shorter = Math.min(left.length, right.length);
  let start = 0;
  while (start < shorter && left[start] === right[start]) start += 1;
  let end = 0;
  while (end < shorter - start && left[left.length - 1 - end] === right[right.length - 1 - end]) end += 1;
  const [rows, columns] = [left.length - start - end, right.length - start - end];
  if (rows * columns > MAX_CELLS) return null;
  const isOutside = (index: number, length: number) => index < start || index >= length - end;
  const same = {
    left: left.map((_, index) => isOutside(index, left.length)),
    right: right.map((_, index) => isOutside(index, right.length)),
  };
  const width = columns + 1;
  // lengths[row, column]: of the longest common subsequence of what begins there.
  const lengths = new Uint16Array((rows + 1) * width);
  const at = (row: number, column: number) => lengths[row * width + column] ?? 0;
  for (let row = rows - 1; row >= 0; row -= 1) {
    for (let column = columns - 1; column >= 0; column -= 1) {
      const equal = left[start + row] === right[start + column];
      lengths[row * width + column] = equal
        ? at(row + 1, column + 1) + 1
        : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  for (let row = 0, column = 0; row < rows && column < columns; ) {
    if (left[start + row] === right[start + column]) {
      same.left[start + row] = same.right[start + column] = true;
      row += 1;
      column += 1;
    } else if (at(row + 1, column) >= at(row, column + 1)) row += 1;
    else column += 1;
  }
  return same;
}

/** The pieces as parts, neighbours of a kind in one; what is between two words that differ differs too. */
function join(pieces: string[], same: boolean[]): DiffPart[] {
  const parts: DiffPart[] = [];
  let word = 0;
  for (const piece of pieces) {
    const isSame = isWord(piece) ? same[word] !== false : same[word - 1] !== false || same[word] !== false;
    if (isWord(piece)) word += 1;
    const last = parts.at(-1);
    if (last?.same === isSame) last.text += piece;
    else parts.push({ text: piece, same: isSame });
  }
  return parts;
}
