// Samples without an index, and answers of a run that goes on: page by page, in the order of the file.

import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import type { JobInfo } from "@/api/client";
import { samplesQuery } from "@/api/samples";
import { readSample, summarise } from "@/lib/sample";
import { EXACT, leaveSample, PAGED_FILTERS, type PagedFilter, type SampleView, showOthers } from "@/lib/search";
import { Empty, ErrorNotice, Skeleton } from "@/ui/states";
import { LayoutSwitch } from "./layout_switch";
import { SampleList } from "./list";
import { useSampleNavigation } from "./navigation";
import { OneSample } from "./one_sample";
import { useLiveAnswers } from "./use_live_answers";

interface Props {
  job: JobInfo;
  task: string;
  view: SampleView;
  doc: string | undefined;
  /** Why there is no index, as a sentence. */
  why?: string | undefined;
}

export function PagedSamples({ job, task, view, doc, why }: Props) {
  const id = job.job_id;
  const filter = PAGED_FILTERS.find((one) => one === view.filter);
  const query = useInfiniteQuery(samplesQuery(id, task, job.status, filter));
  const samples = useMemo(
    () => (query.data?.pages ?? []).flatMap((page) => page.samples).map(readSample),
    [query.data],
  );
  const partial = query.data?.pages[0]?.partial === true;
  useLiveAnswers({
    id,
    task,
    status: job.status,
    active: partial && job.status === "running" && !filter && !query.hasNextPage,
  });
  const at = doc === undefined ? -1 : samples.findIndex((sample) => sample.key === doc);
  // A link to a sample that is not loaded yet, or a filter that no sample of a page passes: the next pages are read.
  const isSought = query.hasNextPage && (doc === undefined ? samples.length === 0 : at < 0);
  const { fetchNextPage, isFetchingNextPage, hasNextPage } = query;
  useEffect(() => {
    if (isSought && !isFetchingNextPage) void fetchNextPage();
  }, [isSought, isFetchingNextPage, fetchNextPage]);
  const isNearEnd = at >= 0 && at >= samples.length - 2 && hasNextPage;
  useEffect(() => {
    if (isNearEnd && !isFetchingNextPage) void fetchNextPage();
  }, [isNearEnd, isFetchingNextPage, fetchNextPage]);

  const rows = useMemo(() => samples.map(summarise), [samples]);
  const ways = useSampleNavigation({ id, task, doc, view, rows, at, scored: !partial });
  const chosen = samples[at];
  return (
    <>
      <div className="sample-tools">
        <nav aria-label="Which samples" className="tabs">
          {[undefined, ...PAGED_FILTERS].map((one) => (
            <Link
              key={one ?? "all"}
              to="/runs/$id/samples/$task"
              params={{ id, task }}
              search={showOthers(view, one ? { filter: one } : {})}
              className={one === filter ? "chosen" : ""}
              activeOptions={EXACT}
              aria-current={one === filter ? "page" : undefined}
              disabled={partial && one === "wrong"}
              title={partial && one === "wrong" ? "Nothing is scored yet." : undefined}
            >
              {one ?? "all"}
            </Link>
          ))}
        </nav>
        <LayoutSwitch id={id} task={task} view={leaveSample(view)} />
        {partial && <span className="badge warning">not scored</span>}
        <Unjudged pages={query.data?.pages} />
      </div>
      {why && (
        <p className="quiet">
          <bdi>{why}</bdi>
        </p>
      )}
      {query.error && <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />}
      {query.isPending && !query.error && <Skeleton lines={8} label="Loading samples" />}
      {query.data && !samples.length && (
        <Empty>
          {hasNextPage ? `Looking through the samples, page ${query.data.pages.length} …` : whyNone(job, filter)}
        </Empty>
      )}
      {samples.length > 0 && (
        <div className={doc === undefined ? `split ${view.view ?? ""}` : `split open ${view.view ?? ""}`}>
          <SampleList
            samples={rows}
            first={0}
            total={undefined}
            title={count(samples.length, partial ? "answer" : "sample", hasNextPage)}
            at={at}
            params={{ id, task }}
            view={leaveSample(view)}
            hasMore={hasNextPage}
            onMore={() => {
              if (!isFetchingNextPage) void fetchNextPage();
            }}
            onBefore={doNothing}
          />
          {chosen && <OneSample key={chosen.key} job={id} sample={chosen} scored={!partial} ways={ways} />}
          {!chosen && doc !== undefined && (
            <Empty>
              {isSought ? `Looking for sample ${doc}: ${samples.length} read …` : `There is no sample ${doc} here.`}
            </Empty>
          )}
          {doc === undefined && <p className="empty hint">Choose a sample; j and k go on from there.</p>}
        </div>
      )}
    </>
  );
}

/** These samples are loaded from the first one on. */
const doNothing = () => undefined;

function count(loaded: number, noun: string, hasMore: boolean): string {
  return `${loaded.toLocaleString("en")} ${noun}${loaded === 1 ? "" : "s"}${hasMore ? " so far, more follow" : ""}`;
}

function whyNone(job: JobInfo, filter: PagedFilter | undefined): string {
  if (filter) return `No sample is ${filter}.`;
  return job.status === "running" ? "No answer has come yet." : "There are no samples.";
}

/** With the filter "wrong", samples that no metric judges are left out; that is said. */
function Unjudged({ pages }: { pages: { unjudged?: number | null }[] | undefined }) {
  const count = (pages ?? []).reduce((sum, page) => sum + (page.unjudged ?? 0), 0);
  if (!count) return null;
  return <span className="quiet">{count.toLocaleString("en")} without a number are left out</span>;
}
