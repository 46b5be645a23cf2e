// The samples of a task: by their index, which a run gets when it completes, else page by page.

import { useInfiniteQuery } from "@tanstack/react-query";
import type { JobInfo } from "@/api/client";
import { cardsQuery, hasNoIndex } from "@/api/explore";
import type { SampleView } from "@/lib/search";
import { ErrorNotice, Skeleton } from "@/ui/states";
import { IndexedSamples } from "./indexed";
import { PagedSamples } from "./paged";

interface Props {
  job: JobInfo;
  task: string;
  view: SampleView;
  doc: string | undefined;
}

export function Samples(props: Props) {
  return props.job.status === "completed" ? <CompletedSamples {...props} /> : <PagedSamples {...props} />;
}

function CompletedSamples(props: Props) {
  const { job, task, view } = props;
  const query = useInfiniteQuery(cardsQuery(job.job_id, task, view));
  if (hasNoIndex(query.error)) return <PagedSamples {...props} why={query.error.message} />;
  if (query.data) return <IndexedSamples {...props} query={{ ...query, data: query.data }} />;
  if (query.error) return <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />;
  return <Skeleton lines={8} label="Loading samples" />;
}
