// Samples by their index: counts as filters, search, order, and one sample beside the list.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import type { JobInfo, SampleCardPage } from "@/api/client";
import { sampleQuery } from "@/api/explore";
import { readCard, readSample } from "@/lib/sample";
import { leaveSample, type SampleView } from "@/lib/search";
import { Empty, Loading } from "@/ui/states";
import { SampleList } from "./list";
import { useSampleNavigation, type Ways } from "./navigation";
import { SampleText } from "./sample_text";
import { SampleTools } from "./tools";

interface Props {
  job: JobInfo;
  task: string;
  view: SampleView;
  doc: string | undefined;
  query: {
    data: { pages: SampleCardPage[] };
    hasNextPage: boolean;
    isFetchingNextPage: boolean;
    fetchNextPage: () => unknown;
  };
}

export function IndexedSamples({ job, task, view, doc, query }: Props) {
  const id = job.job_id;
  const { pages } = query.data;
  const rows = useMemo(() => pages.flatMap((page) => page.cards).map(readCard), [pages]);
  const at = doc === undefined ? -1 : rows.findIndex((row) => row.key === doc && (!view.of || row.of === view.of));
  const { fetchNextPage, isFetchingNextPage, hasNextPage } = query;
  const more = () => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  };
  // A search may find nothing in what one request reads; and the next sample is there before it is asked for.
  const isNeeded = hasNextPage && !isFetchingNextPage && (!rows.length || (at >= 0 && at >= rows.length - 2));
  useEffect(() => {
    if (isNeeded) void fetchNextPage();
  }, [isNeeded, fetchNextPage]);
  const ways = useSampleNavigation({ id, task, doc, view, rows, at, scored: true });
  const last = pages.at(-1);
  if (!last) return null;
  return (
    <>
      <SampleTools id={id} task={task} view={view} page={last} onView={ways.list} />
      {!rows.length && <Empty>{hasNextPage ? `${tellSearched(last)} …` : whyNone(view)}</Empty>}
      {(rows.length > 0 || doc !== undefined) && (
        <div className={doc === undefined ? "split" : "split open"}>
          <SampleList
            samples={rows}
            title={tellCount(last, rows.length, view, hasNextPage)}
            at={at}
            params={{ id, task }}
            view={leaveSample(view)}
            hasMore={hasNextPage}
            onMore={more}
          />
          {doc === undefined ? (
            <p className="empty hint">Choose a sample; j and k go on from there.</p>
          ) : (
            <OneSample
              key={`${doc} ${view.of}`}
              id={id}
              task={task}
              doc={doc}
              of={view.of}
              at={at}
              rows={rows.length}
              ways={ways}
            />
          )}
        </div>
      )}
    </>
  );
}

interface One {
  id: string;
  task: string;
  doc: string;
  of: string | undefined;
  at: number;
  rows: number;
  ways: Ways;
}

function OneSample({ id, task, doc, of, at, rows, ways }: One) {
  const query = useQuery(sampleQuery(id, task, doc, of));
  return (
    <Loading query={query} lines={6}>
      {({ card, sample }) => (
        <SampleText
          sample={{ ...readSample(sample, card.row), verdict: readCard(card).verdict }}
          scored
          onPrevious={at > 0 ? () => ways.step(-1) : undefined}
          onNext={at < rows - 1 ? () => ways.step(1) : undefined}
          onBack={ways.back}
        />
      )}
    </Loading>
  );
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
