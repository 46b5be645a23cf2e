// What the API says of the runs: findings, a table for each task, and what a rerun changes.

import { Fragment } from "react";
import type { JobComparison } from "@/api/client";
import { type CompareSearch, describeReruns, findReach, listTables } from "@/lib/compare";
import { Empty } from "@/ui/states";
import { Line } from "@/ui/text";
import { Findings } from "./findings";
import { isProportion, TaskComparison } from "./task_table";

interface Props {
  base: string;
  search: CompareSearch;
  comparison: JobComparison;
}

export function Comparison({ base, search, comparison }: Props) {
  const tables = listTables(comparison.comparisons);
  const reach = findReach(tables.flatMap((table) => table.rows.filter(isProportion)).flatMap((row) => row.cells));
  const reruns = describeReruns(comparison);
  return (
    <>
      {comparison.comparisons.map(({ candidate, findings = [], only_baseline = [], only_candidate = [] }) => (
        <Fragment key={candidate}>
          <Findings findings={findings} />
          <OnlyIn run={base} tasks={only_baseline} />
          <OnlyIn run={candidate} tasks={only_candidate} />
        </Fragment>
      ))}
      {!tables.length && <Empty>These runs have no task in common.</Empty>}
      {tables.map((table, place) => (
        <TaskComparison
          key={table.task}
          table={table}
          place={place}
          base={base}
          search={search}
          confidence={comparison.confidence}
          reach={reach}
        />
      ))}
      {reruns.length > 0 && (
        <section aria-labelledby="reruns">
          <h2 id="reruns">What a rerun changes</h2>
          <p className="quiet">
            Runs of these that ask for exactly the same, and still answer differently: what changes between others may
            be no more than this.
          </p>
          <ul className="findings">
            {reruns.map(({ key, sentence }) => (
              <li key={key}>
                <Line text={sentence} most={400} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function OnlyIn({ run, tasks }: { run: string; tasks: string[] }) {
  if (!tasks.length) return null;
  return (
    <p className="quiet">
      Only <Line text={run} most={80} /> has <Line text={tasks.join(", ")} most={400} />.
    </p>
  );
}
