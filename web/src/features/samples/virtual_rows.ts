// The rows of a list that are in sight; what is before and behind them is loaded as one comes near.

import { useRouter } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef } from "react";

// A browser's boxes have a largest height. Further above the loaded samples than this, nobody scrolls to.
const MAX_ABOVE = 100_000;
/** Samples from the end of what is loaded, at which more is asked for. */
const NEAR = 20;

export interface LoadedSamples {
  /** How many samples of the list come before those that are loaded. */
  first: number;
  /** How many are loaded. */
  count: number;
  /** Which of these is shown beside the list; -1 for none. */
  at: number;
  hasMore: boolean;
  onMore: () => void;
  onBefore: () => void;
}

/** Rows of `columns` samples each, `height` pixels high. `offset` is the place of the first row's first sample. */
export function useVirtualRows(loaded: LoadedSamples, { columns, height }: { columns: number; height: number }) {
  const { first, count, at, hasMore, onMore, onBefore } = loaded;
  const router = useRouter();
  const box = useRef<HTMLDivElement>(null);
  const start = useRef(first);
  const above = Math.max(0, start.current - MAX_ABOVE);
  const offset = above - (above % columns);
  const rows = useVirtualizer({
    count: Math.ceil((first - offset + count) / columns),
    getScrollElement: () => box.current,
    estimateSize: () => height,
    overscan: Math.ceil(10 / columns),
  });
  const items = rows.getVirtualItems();
  const top = offset + (items[0]?.index ?? 0) * columns;
  const bottom = offset + ((items.at(-1)?.index ?? 0) + 1) * columns;
  useEffect(() => {
    if (hasMore && bottom >= first + count - NEAR) onMore();
  }, [hasMore, bottom, first, count, onMore]);
  useEffect(() => {
    if (items.length && top < first) onBefore();
  }, [items.length, top, first, onBefore]);
  const shown = at < 0 ? -1 : Math.floor((at + first - offset) / columns);
  useEffect(() => {
    if (shown < 0) return undefined;
    const show = () => rows.scrollToIndex(shown, { align: "auto" });
    show();
    // The router puts a box back to where it was before the address changed, and tells of it.
    return router.subscribe("onRendered", show);
  }, [shown, rows, router]);
  return { box, items, offset, height: rows.getTotalSize() };
}
