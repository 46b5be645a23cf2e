// Text that a run wrote, as text: isolated, with hidden characters shown, cut where it is long.

import { useState } from "react";
import { cut, oneLine, showControls } from "@/lib/text";
import type { DiffPart } from "@/lib/word_diff";

const FIRST = 20_000;

/** One line, for lists. */
export function Line({ text, most = 160 }: { text: string; most?: number }) {
  return <bdi className="line">{oneLine(text, most)}</bdi>;
}

/** Whether a text may be higher than its box. */
const isLong = (text: string) => text.length > 300 || text.split("\n").length > 10;

/** A whole text, its beginning first. */
export function LongText({ text, label }: { text: string; label: string }) {
  const [shown, setShown] = useState(FIRST);
  const part = cut(text, shown);
  const rest = text.length - part.length;
  return (
    <>
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields. */}
      <div
        className="text"
        role="group"
        aria-label={label}
        // A box that scrolls has to be reachable by keyboard.
        tabIndex={isLong(part) ? 0 : undefined}
      >
        <bdi>{showControls(part)}</bdi>
      </div>
      {rest > 0 && (
        <button type="button" className="quiet" onClick={() => setShown(shown + 10 * FIRST)}>
          Show more ({rest.toLocaleString("en")} characters are left)
        </button>
      )}
    </>
  );
}

/** A text in parts, those that another text does not have marked as deleted or inserted. */
export function MarkedText({ parts, mark: Mark, label }: { parts: DiffPart[]; mark: "del" | "ins"; label: string }) {
  const text = parts.map((part) => part.text).join("");
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields.
    <div className="text" role="group" aria-label={label} tabIndex={isLong(text) ? 0 : undefined}>
      <bdi>
        {parts.map((part, index) =>
          part.same ? showControls(part.text) : <Mark key={index}>{showControls(part.text)}</Mark>,
        )}
      </bdi>
    </div>
  );
}
