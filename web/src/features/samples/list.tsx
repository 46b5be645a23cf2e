// The list of samples: only the rows in sight are in the page.

import { Link } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef } from "react";
import type { SampleRow } from "@/lib/sample";
import type { SampleView } from "@/lib/search";
import { Verdict } from "./verdict";

const ROW_PX = 46;

interface Props {
  samples: SampleRow[];
  /** How many there are, in words. */
  title: string;
  at: number;
  params: { id: string; task: string };
  view: SampleView;
  hasMore: boolean;
  onMore: () => void;
}

export function SampleList({ samples, title, at, params, view, hasMore, onMore }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const rows = useVirtualizer({
    count: samples.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 10,
  });
  const items = rows.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (hasMore && last >= samples.length - 20) onMore();
  }, [hasMore, last, samples.length, onMore]);
  useEffect(() => {
    if (at >= 0) rows.scrollToIndex(at, { align: "auto" });
  }, [at, rows]);
  return (
    <nav className="sample-list" aria-label="Samples">
      <p className="quiet">{title}</p>
      <div ref={box} className="sample-box">
        <ol style={{ height: rows.getTotalSize() }}>
          {items.map((row) => {
            const sample = samples[row.index];
            if (!sample) return null;
            return (
              <li
                key={row.key}
                aria-setsize={hasMore ? -1 : samples.length}
                aria-posinset={row.index + 1}
                style={{ transform: `translateY(${row.start}px)` }}
              >
                <Link
                  to="/runs/$id/samples/$task/$doc"
                  params={{ ...params, doc: sample.key }}
                  search={sample.of === undefined ? view : { ...view, of: sample.of }}
                  preload={false}
                  aria-current={row.index === at ? "true" : undefined}
                  className={row.index === at ? "chosen" : ""}
                >
                  <Verdict verdict={sample.verdict} />
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
    </nav>
  );
}
