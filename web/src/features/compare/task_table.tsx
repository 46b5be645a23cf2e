// A task: what was paired, what speaks against comparing, and each metric of each run with its difference.

import { Link } from "@tanstack/react-router";
import { Fragment } from "react";
import {
  type ComparedCell,
  type CompareSearch,
  FLIP_WORDS,
  FLIPS,
  findReach,
  formatChange,
  formatP,
  type MetricRow,
  OUTCOMES,
  type TaskTable,
} from "@/lib/compare";
import { formatNumber } from "@/lib/format";
import type { FlipSearch } from "@/lib/search";
import { Line } from "@/ui/text";
import { Findings } from "./findings";
import { DifferenceWhisker } from "./whisker";

interface Props {
  table: TaskTable;
  place: number;
  base: string;
  search: CompareSearch;
  confidence: number;
  /** The largest difference of metrics between 0 and 1: these have one axis. */
  reach: number;
}

export function TaskComparison({ table, place, base, search, confidence, reach }: Props) {
  const id = `task-${place}`;
  // Mostly the same for all runs: then it is said once.
  const isSame = new Set(table.notes.map((note) => note.documents)).size === 1;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>
        <Line text={table.task} most={100} />
      </h2>
      {isSame && <p className="quiet">{table.notes[0]?.documents}</p>}
      {table.notes.map(({ run, documents, findings }) => (
        <Fragment key={run}>
          {!isSame && (
            <p className="quiet">
              <Line text={run} most={80} />
              {": "}
              {documents}
            </p>
          )}
          <Findings findings={findings} />
        </Fragment>
      ))}
      {table.rows.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls has to be reachable by keyboard.
        <section className="scroll" tabIndex={0} aria-label={`Metrics of ${table.task}`}>
          <table className="metrics comparison">
            <thead>
              <tr>
                <th scope="col">Metric</th>
                <th scope="col">Run</th>
                <th scope="col" className="number">
                  Value
                </th>
                <th scope="col" className="number">
                  Difference, {Math.round(confidence * 100)} % interval
                </th>
                <th scope="col" className="drawing">
                  worse · better
                </th>
                <th scope="col" className="number">
                  p
                </th>
                <th scope="col">Changed</th>
                <th scope="col">Result</th>
              </tr>
            </thead>
            {table.rows.map((row) => (
              <Metric
                key={`${row.metric} ${row.filter}`}
                row={row}
                base={base}
                link={{ task: table.task, search: { ...search, metric: row.metric, of: row.filter } }}
                reach={reach}
              />
            ))}
          </table>
        </section>
      )}
    </section>
  );
}

/** What links to the samples that changed have in common. */
interface FlipLink {
  task: string;
  search: FlipSearch;
}

function Metric({ row, base, link, reach }: { row: MetricRow; base: string; link: FlipLink; reach: number }) {
  const own = isProportion(row) ? reach : findReach(row.cells);
  return (
    <tbody>
      <tr className="first">
        <th scope="rowgroup" rowSpan={row.cells.length + 1}>
          <Line text={row.metric} most={60} />
          {row.filter !== "none" && (
            <div className="quiet">
              <Line text={row.filter} most={60} />
            </div>
          )}
          {row.lowerIsBetter && <div className="quiet">lower is better</div>}
        </th>
        <td>
          <Line text={base} most={80} />
        </td>
        <td className="number">{formatNumber(row.baseline)}</td>
        <td colSpan={5} className="quiet">
          baseline
        </td>
      </tr>
      {row.cells.map((cell) => (
        <Candidate key={cell.run} cell={cell} link={link} reach={own} />
      ))}
    </tbody>
  );
}

function Candidate({ cell, link, reach }: { cell: ComparedCell; link: FlipLink; reach: number }) {
  const { run, metric, outcome } = cell;
  const { difference, lower, upper } = metric ?? {};
  const hasDifference = typeof difference === "number";
  const { sign, word, why } = OUTCOMES[outcome];
  return (
    <tr className={`outcome ${outcome}`}>
      <td>
        <Line text={run} most={80} />
      </td>
      <td className="number">
        <b>{formatNumber(metric?.candidate)}</b>
      </td>
      <td className="number">
        {hasDifference && (
          <>
            <b>{formatChange(difference)}</b>{" "}
            {typeof lower === "number" && (
              <span className="interval">
                [{formatChange(lower)}, {formatChange(upper)}]
              </span>
            )}
          </>
        )}
      </td>
      <td className="drawing">
        {hasDifference && <DifferenceWhisker difference={difference} lower={lower} upper={upper} reach={reach} />}
      </td>
      <td className="number">
        {typeof metric?.p_adjusted === "number" ? (
          <>
            {formatP(metric.p_adjusted)} <span className="interval">adjusted</span>
          </>
        ) : (
          formatP(metric?.p)
        )}
      </td>
      <td className="changed">
        {hasDifference &&
          FLIPS.map((flip) => (
            <Link
              key={flip}
              to="/compare/$task"
              params={{ task: link.task }}
              search={{ ...link.search, against: run, flip }}
            >
              {flip === "both_wrong" ? FLIP_WORDS[flip] : `${(metric?.[flip] ?? 0).toLocaleString("en")} ${flip}`}
            </Link>
          ))}
      </td>
      <td className="result" title={why}>
        <span aria-hidden="true">{sign}</span> {word}
      </td>
    </tr>
  );
}

/** Whether a metric lies between 0 and 1: what of it is drawn has one axis in all tasks. */
export function isProportion({ baseline, cells }: MetricRow): boolean {
  const values = [baseline, ...cells.map(({ metric }) => metric?.candidate)];
  return values.every((value) => typeof value !== "number" || (value >= 0 && value <= 1));
}
