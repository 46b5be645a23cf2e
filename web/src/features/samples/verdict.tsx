import type { SampleVerdict } from "@/lib/sample";

const SIGNS = { right: "✓", wrong: "✗", empty: "∅", failed: "!", none: "?" } as const;
const WORDS = { right: "right", wrong: "wrong", empty: "empty", failed: "failed", none: "not judged" } as const;

/** A sign, a colour, and the word for those who see neither. */
export function Verdict({ verdict }: { verdict: SampleVerdict }) {
  const key = verdict ?? "none";
  return (
    <span className={`verdict ${key}`} title={WORDS[key]}>
      <span aria-hidden="true">{SIGNS[key]}</span>
      <span className="hidden">{WORDS[key]}</span>
    </span>
  );
}
