// One part of the list of runs, page by page.

import { useInfiniteQuery } from "@tanstack/react-query";
import type { JobSummary } from "@/api/client";
import { jobsQuery } from "@/api/jobs";
import { byPosition, type JobFilter, listJobs, type Section } from "@/lib/job_pages";
import { Empty, ErrorNotice, Skeleton } from "@/ui/states";
import { EndedRow } from "./ended_row";
import { QueuedRow } from "./queued_row";
import { RunningRow } from "./running_row";

const ROWS: Record<Section, (props: { job: JobSummary }) => React.ReactNode> = {
  running: RunningRow,
  queued: QueuedRow,
  ended: EndedRow,
};

interface Props {
  section: Section;
  filter: JobFilter;
  title: string;
  none: string;
}

export function RunSection({ section, filter, title, none }: Props) {
  const query = useInfiniteQuery(jobsQuery(section, filter));
  const jobs = listJobs(query.data);
  if (section === "queued") jobs.sort(byPosition);
  const Row = ROWS[section];
  const id = `section-${section}`;
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>
        {title} {query.data && <span className="count">{`${jobs.length}${query.hasNextPage ? "+" : ""}`}</span>}
      </h2>
      {query.error && <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />}
      {query.isPending && <Skeleton label={`Loading: ${title}`} />}
      {query.data && !jobs.length && <Empty>{none}</Empty>}
      {jobs.length > 0 && (
        <ul className={`rows ${section}`}>
          {jobs.map((job) => (
            <Row key={job.job_id} job={job} />
          ))}
        </ul>
      )}
      {query.hasNextPage && (
        <button type="button" disabled={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          Show more
        </button>
      )}
    </section>
  );
}
