// The runs that are compared: which one is the baseline, and what changes that.

import { Link } from "@tanstack/react-router";
import type { JobComparison } from "@/api/client";
import { Line } from "@/ui/text";

interface Props {
  base: string;
  others: string[];
  /** What the API says of them, once it is there. */
  runs: JobComparison["runs"];
  onBase: (name: string) => void;
  onRemove: (name: string) => void;
}

export function ComparedRuns({ base, others, runs, onBase, onRemove }: Props) {
  return (
    <ul className="rows compared-runs" aria-label="Compared runs">
      {[base, ...others].map((name) => (
        <li key={name}>
          <div className="name">
            <Link to="/runs/$id" params={{ id: name }} data-row={name}>
              <Line text={name} most={80} />
            </Link>
            <span className="what">
              <Line text={runs.find((run) => run.job_id === name)?.model ?? ""} most={60} />
            </span>
            {name === base && <b>baseline</b>}
          </div>
          <div className="actions">
            {name !== base && (
              <button type="button" title="b" onClick={() => onBase(name)} aria-label={`Make it the baseline: ${name}`}>
                Make it the baseline
              </button>
            )}
            <button type="button" onClick={() => onRemove(name)} aria-label={`Remove: ${name}`}>
              Remove
            </button>
          </div>
        </li>
      ))}
    </ul>
  );
}
