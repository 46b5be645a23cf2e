// The samples of a task: by their index, which a run gets when it completes, else page by page.

import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
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
  const [start, setStart] = useState<{ list: string; row: number }>();
  const list = JSON.stringify([view.filter, view.q, view.sort]);
  const around = start?.list === list ? start.row : undefined;
  const query = useInfiniteQuery(cardsQuery(job.job_id, task, view, around));
  if (hasNoIndex(query.error)) return <PagedSamples {...props} why={query.error.message} />;
  if (query.data) {
    return (
      <IndexedSamples
        {...props}
        query={{ ...query, data: query.data }}
        around={around}
        onAround={(row) => setStart(row === undefined ? undefined : { list, row })}
      />
    );
  }
  if (query.error) return <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />;
  return <Skeleton lines={8} label="Loading samples" />;
}
