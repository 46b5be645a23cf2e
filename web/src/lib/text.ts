// Text that runs wrote is hostile: it is shown as text, with what would hide or reorder it made visible.

const CONTROL_PICTURES = 0x2400;
const DELETE_PICTURE = "␡";
// Marks that reorder or hide what stands around them.
const SPECIAL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** The text with control characters and marks of direction made visible; tabs and line ends stay. */
export function showControls(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(SPECIAL, showCharacter);
}

function showCharacter(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(CONTROL_PICTURES + code);
  return code === 0x7f ? DELETE_PICTURE : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** The first `most` characters, never half of a surrogate pair. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = /[\ud800-\udbff]/.test(text[most - 1] ?? "") ? most - 1 : most;
  return text.slice(0, end);
}

/** One line for a list: cut first, so that ten megabytes cost nothing. */
export function oneLine(text: string, most = 160): string {
  const short = cut(text, most);
  const shown = showControls(short).replace(/\s+/g, " ").trim();
  return short.length < text.length ? `${shown}…` : shown;
}

/** A value of a run as text: strings as they are, all else as JSON. */
export function toText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}
