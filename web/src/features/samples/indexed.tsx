// Samples by their index: counts as filters, search, order, and one sample beside the list.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import type { JobInfo, SampleCardPage } from "@/api/client";
import { sampleQuery } from "@/api/explore";
import { readCard, readDetail, type SampleRow } from "@/lib/sample";
import { leaveSample, type SampleView } from "@/lib/search";
import { Empty, Loading } from "@/ui/states";
import { SampleList } from "./list";
import { useSampleNavigation } from "./navigation";
import { OneSample } from "./one_sample";
import { SampleTools } from "./tools";

interface Props {
  job: JobInfo;
  task: string;
  view: SampleView;
  doc: string | undefined;
  query: {
    data: { pages: SampleCardPage[] };
    isPlaceholderData: boolean;
    hasNextPage: boolean;
    hasPreviousPage: boolean;
    isFetching: boolean;
    fetchNextPage: () => unknown;
    fetchPreviousPage: () => unknown;
  };
  /** The row around which the list is loaded; undefined where it is loaded from its beginning. */
  around: number | undefined;
  onAround: (row: number | undefined) => void;
}

export function IndexedSamples({ job, task, view, doc, query, around, onAround }: Props) {
  const id = job.job_id;
  const { pages } = query.data;
  const rows = useMemo(() => pages.flatMap(readRows), [pages]);
  const at = doc === undefined ? -1 : rows.findIndex((row) => row.key === doc && (!view.of || row.of === view.of));
  const sample = useQuery({ ...sampleQuery(id, task, doc ?? "", view.of), enabled: doc !== undefined });
  const row = sample.data?.card.row;
  const last = pages.at(-1);
  const behind = at < 0 && row !== undefined && !view.sort ? findBehind(rows, row, query.hasNextPage) : undefined;
  const { more, before } = useMorePages(query, { rows: rows.length, at, behind, row, view, around, onAround });
  const ways = useSampleNavigation({
    id,
    task,
    doc,
    view,
    rows,
    at,
    before: behind,
    scored: true,
  });
  if (!last) return null;
  return (
    <>
      <SampleTools id={id} task={task} view={view} page={last} onView={ways.list} />
      {!rows.length && <Empty>{query.hasNextPage ? `${tellSearched(last)} …` : whyNone(view)}</Empty>}
      {(rows.length > 0 || doc !== undefined) && (
        <div className={doc === undefined ? `split ${view.view ?? ""}` : `split open ${view.view ?? ""}`}>
          <SampleList
            key={around ?? "start"}
            samples={rows}
            first={pages[0]?.place ?? 0}
            total={last.matched ?? undefined}
            title={tellCount(last, rows.length, view, query.hasNextPage)}
            at={at}
            params={{ id, task }}
            view={leaveSample(view)}
            hasMore={query.hasNextPage}
            onMore={more}
            onBefore={before}
            onStart={() => onAround(undefined)}
          />
          {doc === undefined ? (
            <p className="empty hint">Choose a sample; j and k go on from there.</p>
          ) : (
            <Loading query={sample} lines={6}>
              {(detail) => (
                <OneSample key={`${doc} ${view.of}`} job={id} sample={readDetail(detail)} scored ways={ways} />
              )}
            </Loading>
          )}
        </div>
      )}
    </>
  );
}

/** Before which of the rows a sample stands that is none of them, in the order of the file. */
function findBehind(rows: SampleRow[], row: number, hasMore: boolean): number | undefined {
  const found = rows.findIndex((one) => one.row > row);
  if (found >= 0) return found;
  return hasMore ? undefined : rows.length;
}

interface Position {
  rows: number;
  at: number;
  /** Without `at`: before which of the rows it stands. */
  behind: number | undefined;
  /** The place in the file of the sample that is shown, once that is known. */
  row: number | undefined;
  view: SampleView;
  around: number | undefined;
  onAround: (row: number) => void;
}

/** Load what is needed of the list: around the sample that is shown, and its neighbours before they are asked for. */
function useMorePages(query: Props["query"], { rows, at, behind, row, view, around, onAround }: Position) {
  const { isFetching, hasNextPage, hasPreviousPage, fetchNextPage, fetchPreviousPage } = query;
  const more = () => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  };
  const before = () => {
    if (hasPreviousPage && !isFetching) void fetchPreviousPage();
  };
  const isSought = at < 0 && row !== undefined && !query.isPlaceholderData;
  // A search is in the order of the file, and goes as far as the sample that is shown.
  const isSoughtBySearch = isSought && view.q !== undefined && (query.data.pages.at(-1)?.scanned ?? 0) <= (row ?? 0);
  const isSoughtElsewhere = isSought && view.q === undefined && row !== around;
  const needsMore = !rows || (at >= 0 && at >= rows - 2) || isSoughtBySearch;
  useEffect(() => {
    if (needsMore && hasNextPage && !isFetching) void fetchNextPage();
  }, [needsMore, hasNextPage, isFetching, fetchNextPage]);
  const place = at >= 0 ? at : behind;
  const needsBefore = place !== undefined && place < 2;
  useEffect(() => {
    if (needsBefore && hasPreviousPage && !isFetching) void fetchPreviousPage();
  }, [needsBefore, hasPreviousPage, isFetching, fetchPreviousPage]);
  useEffect(() => {
    if (isSoughtElsewhere && row !== undefined && !isFetching) onAround(row);
  });
  return { more, before };
}

function number(value: number): string {
  return value.toLocaleString("en");
}

function tellSearched({ scanned, total }: SampleCardPage): string {
  return `Searched ${number(scanned)} of ${number(total)} samples`;
}

function tellCount(last: SampleCardPage, loaded: number, view: SampleView, hasMore: boolean): string {
  if (view.q === undefined) return `${number(last.matched ?? loaded)} ${last.matched === 1 ? "sample" : "samples"}`;
  return `${number(loaded)} found. ${hasMore ? tellSearched(last) : `All ${number(last.total)} searched`}`;
}

function whyNone({ filter, q }: SampleView): string {
  const what = filter ? `No sample is ${filter}` : "There are no samples";
  return q === undefined
    ? `${what}.`
    : `No ${filter ?? ""} sample has “${q}” in its prompt, target or answer.`.replace("  ", " ");
}

const read = new WeakMap<SampleCardPage, ReturnType<typeof readCard>[]>();

/** The rows of a page, which are read once: further pages come by the hundred. */
function readRows(page: SampleCardPage): ReturnType<typeof readCard>[] {
  const rows = read.get(page) ?? page.cards.map(readCard);
  read.set(page, rows);
  return rows;
}
