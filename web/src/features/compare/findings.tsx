// What speaks against a comparison, or should be known beside it, in the API's sentences.

import type { ComparisonFinding } from "@/api/client";
import { spellReason } from "@/lib/format";
import { Line } from "@/ui/text";

const SIGNS: Record<ComparisonFinding["effect"], string> = { refused: "⊘", inconclusive: "?", warning: "!" };

export function Findings({ findings }: { findings: ComparisonFinding[] }) {
  if (!findings.length) return null;
  return (
    <ul className="findings">
      {findings.map(({ effect, reason, message }) => (
        <li key={message} className={effect}>
          <span aria-hidden="true">{SIGNS[effect]}</span>
          <span>
            {effect !== "warning" && <b>{spellReason(reason)}: </b>}
            <Line text={message} most={600} />
          </span>
        </li>
      ))}
    </ul>
  );
}
