// List and sample side by side, the keys that move between them, and the pages behind the list.

import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import type { JobInfo } from "@/api/client";
import { samplesQuery } from "@/api/samples";
import { readSample } from "@/lib/sample";
import { SAMPLE_FILTERS, type SampleFilter } from "@/lib/search";
import { useKeys } from "@/ui/keys";
import { Empty, ErrorNotice, Skeleton } from "@/ui/states";
import { SampleList } from "./list";
import { SampleView } from "./sample_view";
import { useLiveAnswers } from "./use_live_answers";

interface Props {
  job: JobInfo;
  task: string;
  filter: SampleFilter | undefined;
  doc: string | undefined;
}

export function Samples({ job, task, filter, doc }: Props) {
  const id = job.job_id;
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

  const navigate = useNavigate();
  const go = (key: string | undefined, search: { filter?: SampleFilter | undefined } = filter ? { filter } : {}) => {
    const params = { id, task };
    if (key === undefined) void navigate({ to: "/runs/$id/samples/$task", params, search });
    else void navigate({ to: "/runs/$id/samples/$task/$doc", params: { ...params, doc: key }, search });
  };
  const step = (by: 1 | -1) => {
    const next = samples[at < 0 && by < 0 ? samples.length - 1 : at + by];
    if (next) go(next.key);
  };
  const back = () => {
    if (doc !== undefined) go(undefined);
    else void navigate({ to: "/runs/$id", params: { id } });
  };
  useKeys([
    { keys: "j", does: "Next sample", run: () => step(1) },
    { keys: "k", does: "Previous sample", run: () => step(-1) },
    {
      keys: "w",
      does: "Next wrong sample",
      run: () => (filter === "wrong" ? step(1) : partial || go(undefined, { filter: "wrong" })),
    },
    { keys: "0", does: "All samples", run: () => go(doc, {}) },
    { keys: "Escape", does: "Back to the list, or to the run", run: back },
  ]);

  const chosen = samples[at];
  return (
    <>
      <div className="sample-tools">
        <nav aria-label="Which samples" className="tabs">
          {[undefined, ...SAMPLE_FILTERS].map((one) => (
            <Link
              key={one ?? "all"}
              to="/runs/$id/samples/$task"
              params={{ id, task }}
              search={one ? { filter: one } : {}}
              className={one === filter ? "chosen" : ""}
              aria-current={one === filter ? "page" : undefined}
              disabled={partial && one === "wrong"}
              title={partial && one === "wrong" ? "Nothing is scored yet." : undefined}
            >
              {one ?? "all"}
            </Link>
          ))}
        </nav>
        {partial && <span className="badge warning">not scored</span>}
        <Unjudged pages={query.data?.pages} />
      </div>
      {query.error && <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />}
      {query.isPending && !query.error && <Skeleton lines={8} label="Loading samples" />}
      {query.data && !samples.length && (
        <Empty>
          {hasNextPage ? `Looking through the samples, page ${query.data.pages.length} …` : whyNone(job, filter)}
        </Empty>
      )}
      {samples.length > 0 && (
        <div className={doc === undefined ? "split" : "split open"}>
          <SampleList
            samples={samples}
            noun={partial ? "answer" : "sample"}
            at={at}
            target={(key) => ({ id, task, doc: key })}
            filter={filter}
            hasMore={hasNextPage}
            onMore={() => {
              if (!isFetchingNextPage) void fetchNextPage();
            }}
          />
          {chosen && (
            <SampleView
              key={chosen.key}
              sample={chosen}
              scored={!partial}
              onPrevious={at > 0 ? () => step(-1) : undefined}
              onNext={at < samples.length - 1 ? () => step(1) : undefined}
              onBack={back}
            />
          )}
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

function whyNone(job: JobInfo, filter: SampleFilter | undefined): string {
  if (filter) return `No sample is ${filter}.`;
  return job.status === "running" ? "No answer has come yet." : "There are no samples.";
}

/** With the filter "wrong", samples that no metric judges are left out; that is said. */
function Unjudged({ pages }: { pages: { unjudged?: number | null }[] | undefined }) {
  const count = (pages ?? []).reduce((sum, page) => sum + (page.unjudged ?? 0), 0);
  if (!count) return null;
  return <span className="quiet">{count.toLocaleString("en")} without a number are left out</span>;
}
