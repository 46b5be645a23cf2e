// `k=v,k=v` as lmms-eval and lmmeval read it.

export type Scalar = string | number | boolean;

const CLOSING: Record<string, string> = { "{": "}", "[": "]" };

/** The parts between the commas outside of quotes, braces and brackets. */
export function splitList(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let depth = 0;
  let open = "";
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index] ?? "";
    if (`"'`.includes(character) && text[index - 1] !== "\\") {
      if (!open) open = character;
      else if (open === character) open = "";
    } else if (!open && character in CLOSING) depth += 1;
    else if (!open && Object.values(CLOSING).includes(character)) depth -= 1;
    else if (!open && !depth && character === ",") {
      parts.push(text.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(text.slice(start));
  return parts.map((part) => part.trim()).filter(Boolean);
}

/** A value as it looks: true, false, a number, else a text. */
export function parseScalar(text: string): Scalar {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return text;
  const number = Number(text);
  // A whole number that a double cannot hold stays what was typed.
  return Number.isFinite(number) && (!/^\d+$/.test(text) || Number.isSafeInteger(number)) ? number : text;
}

/** The pairs; throws a sentence where there is none. A JSON object is taken too. */
export function parsePairs(text: string): Record<string, unknown> {
  if (text.trimStart().startsWith("{")) return parseObject(text);
  return Object.fromEntries(
    splitList(text).map((part) => {
      const at = part.indexOf("=");
      if (at < 1) throw new Error(`Give name=value, separated by commas; ${part} is none.`);
      return [part.slice(0, at).trim(), parseScalar(part.slice(at + 1).trim())];
    }),
  );
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("This begins like JSON, and is none.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("Give a JSON object.");
  return value as Record<string, unknown>;
}

/** The pairs as one types them; as JSON where they need it. */
export function writePairs(pairs: Record<string, unknown>): string {
  const plain = Object.entries(pairs).every(
    ([key, value]) =>
      typeof value !== "object" && !/[,=\s'"{}[\]]/.test(`${key}${value}`) && parseScalar(String(value)) === value,
  );
  if (!plain) return JSON.stringify(pairs);
  return Object.entries(pairs)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
