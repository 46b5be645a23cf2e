const WIDTH = 160;
const HEIGHT = 14;
const EDGE = 4;

interface Props {
  difference: number;
  lower: number | null | undefined;
  upper: number | null | undefined;
  /** What stands at either edge. */
  reach: number;
}

/** A difference with its interval, 0 in the middle. The numbers stand beside it. */
export function DifferenceWhisker({ difference, lower, upper, reach }: Props) {
  const place = (value: number) => WIDTH / 2 + (reach > 0 ? value / reach : 0) * (WIDTH / 2 - EDGE);
  const middle = HEIGHT / 2;
  return (
    <svg width={WIDTH} height={HEIGHT} aria-hidden="true" className="whisker">
      <line className="axis" x1={EDGE} x2={WIDTH - EDGE} y1={middle} y2={middle} />
      <line className="zero" x1={WIDTH / 2} x2={WIDTH / 2} y1="0" y2={HEIGHT} />
      {typeof lower === "number" && typeof upper === "number" && (
        <line className="interval" x1={place(lower)} x2={place(upper)} y1={middle} y2={middle} />
      )}
      <circle cx={place(difference)} cy={middle} r="3.5" />
    </svg>
  );
}
