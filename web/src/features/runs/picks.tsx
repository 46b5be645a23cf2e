// Runs that are picked to be compared: the address holds them, a bar at the bottom shows them. x picks, c compares.

import { Link, useNavigate } from "@tanstack/react-router";
import { createContext, useContext } from "react";
import type { JobSummary } from "@/api/client";
import { listRuns, MOST_RUNS, toggleRun } from "@/lib/compare";
import { announce } from "@/ui/announce";
import { useKeys } from "@/ui/keys";
import { Line } from "@/ui/text";

interface Picks {
  picked: string[];
  toggle: (name: string) => void;
}

export const PicksContext = createContext<Picks>({ picked: [], toggle: () => undefined });

/** What is picked by the address, and how that changes. */
export function usePicks(pick: string | undefined, onPick: (pick: string | undefined) => void): Picks {
  const toggle = (name: string) => {
    const next = toggleRun(pick, name);
    if (next === null) announce(`No more than ${MOST_RUNS} runs are compared at once.`);
    else onPick(next);
  };
  useKeys([{ keys: "x", does: "Pick the run with the focus, to compare it", run: () => toggleFocused(toggle) }]);
  return { picked: listRuns(pick), toggle };
}

/** Only completed runs have something to compare: their names are links that say so. */
function toggleFocused(toggle: (name: string) => void): void {
  const name = (document.activeElement as HTMLElement | null)?.dataset.completed;
  if (name) toggle(name);
  else announce("Go to a completed run first: j and k do.");
}

export function PickBox({ job }: { job: JobSummary }) {
  const { picked, toggle } = useContext(PicksContext);
  return (
    <label className="chip" title="x">
      <input
        type="checkbox"
        aria-label={`Compare: ${job.job_id}`}
        checked={picked.includes(job.job_id)}
        onChange={() => toggle(job.job_id)}
      />
      Compare
    </label>
  );
}

export function PickedBar({ picked, onClear }: { picked: string[]; onClear: () => void }) {
  const navigate = useNavigate();
  const runs = picked.join(",");
  useKeys([
    {
      keys: "c",
      does: "Compare the runs that are picked",
      run: () => {
        if (picked.length > 1) void navigate({ to: "/compare", search: { runs } });
        else announce("Pick two runs or more: x picks the one with the focus.");
      },
    },
  ]);
  if (!picked.length) return null;
  return (
    <section className="picked" aria-label="Picked runs">
      <span>
        <Line text={picked.join(", ")} most={200} />
      </span>
      <div className="actions">
        {picked.length > 1 ? (
          <Link to="/compare" search={{ runs }} className="button primary" title="c">
            Compare {picked.length} runs
          </Link>
        ) : (
          <span className="quiet">Pick another one to compare</span>
        )}
        <button type="button" onClick={onClear}>
          Clear
        </button>
      </div>
    </section>
  );
}
