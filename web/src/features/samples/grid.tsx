// The samples as a grid of their pictures, each with its sign; only the rows in sight are in the page.

import { Link } from "@tanstack/react-router";
import { useLayoutEffect, useState } from "react";
import { describeLoaded, type ListProps, linkSample, setSize } from "./listed";
import { Thumb } from "./thumb";
import { Verdict } from "./verdict";
import { useVirtualRows } from "./virtual_rows";

const TILE_PX = 150;
const ROW_PX = 168;
const GAP_PX = 8;
const THUMB_PX = 120;

export function SampleGrid(list: ListProps) {
  const { samples, first, at, params, view } = list;
  const [width, setWidth] = useState(0);
  const columns = Math.max(1, Math.floor((width - GAP_PX) / (TILE_PX + GAP_PX)));
  const rows = useVirtualRows(describeLoaded(list), { columns, height: ROW_PX });
  const { box } = rows;
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const measure = () => setWidth(element.clientWidth);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [box]);
  const tileWidth = Math.floor((width - GAP_PX) / columns) - GAP_PX;
  return (
    <div ref={box} className="sample-box grid">
      <ol style={{ height: rows.height + GAP_PX }}>
        {rows.items.flatMap((row) =>
          Array.from({ length: columns }, (_, column) => {
            const place = rows.offset + row.index * columns + column;
            const sample = samples[place - first];
            if (!sample) return null;
            const left = GAP_PX + column * (tileWidth + GAP_PX);
            return (
              <li
                key={place}
                aria-setsize={setSize(list)}
                aria-posinset={place + 1}
                style={{ transform: `translate(${left}px, ${row.start + GAP_PX}px)`, width: tileWidth }}
              >
                <Link
                  {...linkSample(sample, params, view)}
                  preload={false}
                  aria-current={place - first === at ? "true" : undefined}
                  className={place - first === at ? "chosen" : ""}
                >
                  {sample.media ? (
                    <Thumb job={params.id} media={sample.media} size={THUMB_PX} />
                  ) : (
                    <bdi className="excerpt">{sample.summary}</bdi>
                  )}
                  <span className="sign">
                    <Verdict verdict={sample.verdict} />
                    <span className="quiet">
                      <bdi>{sample.key}</bdi>
                      {sample.of !== undefined && <bdi> {sample.of}</bdi>}
                    </span>
                  </span>
                </Link>
              </li>
            );
          }),
        )}
      </ol>
    </div>
  );
}
