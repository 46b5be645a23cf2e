// The list of samples: only the rows in sight are in the page.

import { Link } from "@tanstack/react-router";
import type { SampleRow } from "@/lib/sample";
import type { SampleView } from "@/lib/search";
import { SampleGrid } from "./grid";
import { Thumb } from "./thumb";
import { Verdict } from "./verdict";
import { type LoadedSamples, useVirtualRows } from "./virtual_rows";

const ROW_PX = 46;
const THUMB_PX = 36;

export interface ListProps {
  samples: SampleRow[];
  /** How many samples of the list come before these. */
  first: number;
  /** How many there are in all, where that is known. */
  total: number | undefined;
  at: number;
  params: { id: string; task: string };
  view: SampleView;
  hasMore: boolean;
  onMore: () => void;
  onBefore: () => void;
}

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
                {hasMedia &&
                  (sample.media ? <Thumb job={params.id} media={sample.media} size={THUMB_PX} /> : <span />)}
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

export function describeLoaded({ samples, first, at, hasMore, onMore, onBefore }: ListProps): LoadedSamples {
  return { first, count: samples.length, at, hasMore, onMore, onBefore };
}

/** As aria-setsize has it: -1 where nobody knows. */
export function setSize({ samples, first, total, hasMore }: ListProps): number {
  return total ?? (hasMore ? -1 : first + samples.length);
}

/** Where a sample's link leads: to it, in the list that it is in. */
export function linkSample({ key, of }: SampleRow, params: ListProps["params"], view: SampleView) {
  return {
    to: "/runs/$id/samples/$task/$doc" as const,
    params: { ...params, doc: key },
    search: of === undefined ? view : { ...view, of },
  };
}
