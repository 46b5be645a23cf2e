// The list of samples: only the rows in sight are in the page.

import { Link } from "@tanstack/react-router";
import { SampleGrid } from "./grid";
import { describeLoaded, type ListProps, linkSample, setSize } from "./listed";
import { Thumb } from "./thumb";
import { Verdict } from "./verdict";
import { useVirtualRows } from "./virtual_rows";

const ROW_PX = 46;
const THUMB_PX = 36;

interface Props extends ListProps {
  /** How many there are, in words. */
  title: string;
  /** Shows the list from its beginning; none where it is shown from there. */
  onStart?: (() => void) | undefined;
}

export function SampleList({ title, onStart, ...list }: Props) {
  return (
    <nav className="sample-list" aria-label="Samples">
      <p className="quiet">
        {title}
        {onStart && list.first > 0 && (
          <button type="button" className="quiet" onClick={onStart}>
            To the first
          </button>
        )}
      </p>
      {list.view.view === "grid" ? <SampleGrid {...list} /> : <Rows {...list} />}
    </nav>
  );
}

function Rows(list: ListProps) {
  const { samples, first, at, params, view } = list;
  const rows = useVirtualRows(describeLoaded(list), { columns: 1, height: ROW_PX });
  const hasMedia = samples.some((sample) => sample.media);
  return (
    <div ref={rows.box} className="sample-box">
      <ol style={{ height: rows.height }}>
        {rows.items.map((row) => {
          const place = rows.offset + row.index;
          const sample = samples[place - first];
          if (!sample) return null;
          return (
            <li
              key={row.key}
              aria-setsize={setSize(list)}
              aria-posinset={place + 1}
              style={{ transform: `translateY(${row.start}px)` }}
            >
              <Link
                {...linkSample(sample, params, view)}
                preload={false}
                aria-current={place - first === at ? "true" : undefined}
                className={`${hasMedia ? "with-thumb" : ""} ${place - first === at ? "chosen" : ""}`}
              >
                <Verdict verdict={sample.verdict} />
                {hasMedia && (sample.media ? <Thumb job={params.id} media={sample.media} size={THUMB_PX} /> : <span />)}
                <span className="quiet">
                  <bdi>{sample.key}</bdi>
                  {sample.of !== undefined && <bdi> {sample.of}</bdi>}
                </span>
                <bdi>{sample.summary}</bdi>
              </Link>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
