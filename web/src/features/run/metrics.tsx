import { formatNumber } from "@/lib/format";
import { isFraction, listScores, type ScoreRow } from "@/lib/scores";
import { Line } from "@/ui/text";

const WIDTH = 120;
const HEIGHT = 14;

/** Every metric with its 95 % interval, where lmms-eval gives a standard error. */
export function Metrics({ scores }: { scores: Record<string, unknown> }) {
  const rows = listScores(scores);
  return (
    <div className="scroll">
      <table className="metrics">
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col">Metric</th>
            <th scope="col" className="number">
              Value
            </th>
            <th scope="col">95 % interval</th>
            <th scope="col" className="drawing">
              0 to 1
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <Row key={`${row.task} ${row.metric} ${row.filter}`} row={row} first={rows[index - 1]?.task !== row.task} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ row, first }: { row: ScoreRow; first: boolean }) {
  return (
    <tr className={first ? "first" : ""}>
      <th scope="row">
        <span className={first ? "" : "hidden"}>
          <Line text={row.task} />
        </span>
      </th>
      <td>
        <Line text={row.metric} />
        {row.filter && (
          <span className="quiet">
            {" "}
            <Line text={row.filter} />
          </span>
        )}
      </td>
      <td className="number">
        <b>{formatNumber(row.value)}</b>
      </td>
      <td className="number">
        {row.value !== null && row.half !== null ? (
          <>
            ± {formatNumber(row.half)}{" "}
            <span className="quiet">
              [{formatNumber(row.value - row.half)}, {formatNumber(row.value + row.half)}]
            </span>
          </>
        ) : (
          <span className="quiet">no standard error</span>
        )}
      </td>
      <td className="drawing">{isFraction(row) && <Whisker row={row} />}</td>
    </tr>
  );
}

function Whisker({ row }: { row: ScoreRow }) {
  const place = (value: number) => 2 + Math.min(1, Math.max(0, value)) * (WIDTH - 4);
  const value = row.value ?? 0;
  const middle = HEIGHT / 2;
  return (
    <svg width={WIDTH} height={HEIGHT} aria-hidden="true" className="whisker">
      <line className="axis" x1="2" x2={WIDTH - 2} y1={middle} y2={middle} />
      {row.half !== null && (
        <line className="interval" x1={place(value - row.half)} x2={place(value + row.half)} y1={middle} y2={middle} />
      )}
      <circle cx={place(value)} cy={middle} r="3.5" />
    </svg>
  );
}
