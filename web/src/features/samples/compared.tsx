// Target beside answer, with the words marked that only one of them has.

import { useMemo, useState } from "react";
import { readSetting, writeSetting } from "@/lib/storage";
import { diffWords, type WordDiff } from "@/lib/word_diff";
import { useKeys } from "@/ui/keys";
import { MarkedText } from "@/ui/text";
import { Part } from "./part";

interface Props {
  target: string;
  answer: string;
  noTarget: string;
}

export function Compared({ target, answer, noTarget }: Props) {
  const comparable = target.trim() !== "" && answer.trim() !== "";
  const [marked, setMarked] = useState(() => readSetting("diff") !== "off");
  const diff = useMemo(
    () => (comparable && marked ? diffWords(target, answer) : null),
    [comparable, marked, target, answer],
  );
  const mark = (on: boolean) => {
    setMarked(on);
    writeSetting("diff", on ? "on" : "off");
  };
  useKeys([{ keys: "d", does: "Mark the words that differ, or do not", run: () => mark(!marked) }]);
  // With nothing in common, every word would be marked.
  const shown = diff?.related ? diff : null;
  return (
    <div>
      <div className="beside">
        <Part title="Target" text={target} none={noTarget}>
          {shown && <MarkedText parts={shown.before} mark="del" label="Target" />}
        </Part>
        <Part title="Answer" text={answer}>
          {shown && <MarkedText parts={shown.after} mark="ins" label="Answer" />}
        </Part>
      </div>
      {comparable && (
        <div className="compared">
          <label className="check" title="d">
            <input type="checkbox" checked={marked} onChange={(event) => mark(event.target.checked)} />
            Mark the words that differ
          </label>
          {marked && <span className="quiet">{tellDifference(diff)}</span>}
        </div>
      )}
    </div>
  );
}

function tellDifference(diff: WordDiff | null): string {
  if (!diff) return "These texts are too long or too different to be compared word by word.";
  if (!diff.related) return "They have no word in common.";
  return [...diff.before, ...diff.after].every((part) => part.same) ? "All words are the same." : "";
}
