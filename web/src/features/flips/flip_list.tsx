// The list of samples that changed: only the rows in sight are in the page.

import { Link } from "@tanstack/react-router";
import { Verdict } from "@/features/samples/verdict";
import { useVirtualRows } from "@/features/samples/virtual_rows";
import type { SampleRow } from "@/lib/sample";
import type { FlipSearch } from "@/lib/search";

const ROW_PX = 46;

/** A sample in both runs. */
export interface FlipRow {
  baseline: SampleRow;
  candidate: SampleRow;
}

interface Props {
  rows: FlipRow[];
  /** How many come before these, and how many there are in all. */
  first: number;
  total: number;
  at: number;
  task: string;
  search: FlipSearch;
  hasMore: boolean;
  onMore: () => void;
  onBefore: () => void;
}

export function FlipList({ rows, first, total, at, task, search, hasMore, onMore, onBefore }: Props) {
  const loaded = { first, count: rows.length, at, hasMore, onMore, onBefore };
  const virtual = useVirtualRows(loaded, { columns: 1, height: ROW_PX });
  return (
    <nav className="sample-list" aria-label="Samples">
      <p className="quiet">
        {total.toLocaleString("en")} {total === 1 ? "sample" : "samples"}
      </p>
      <div ref={virtual.box} className="sample-box">
        <ol style={{ height: virtual.height }}>
          {virtual.items.map((item) => {
            const place = virtual.offset + item.index;
            const row = rows[place - first];
            if (!row) return null;
            const isChosen = place - first === at;
            return (
              <li
                key={item.key}
                aria-setsize={total}
                aria-posinset={place + 1}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <Link
                  to="/compare/$task/$doc"
                  params={{ task, doc: row.candidate.key }}
                  search={search}
                  preload={false}
                  aria-current={isChosen ? "true" : undefined}
                  className={`flip ${isChosen ? "chosen" : ""}`}
                >
                  <Verdict verdict={row.baseline.verdict} />
                  <Verdict verdict={row.candidate.verdict} />
                  <span className="quiet">
                    <bdi>{row.candidate.key}</bdi>
                  </span>
                  <bdi>{row.candidate.summary}</bdi>
                </Link>
              </li>
            );
          })}
        </ol>
      </div>
    </nav>
  );
}
