// The samples of a task: a list, and one of them beside it. The address holds which.

import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useParams } from "@tanstack/react-router";
import { ENDED, jobQuery } from "@/api/job";
import { useLiveJob } from "@/api/live_job";
import { Samples } from "@/features/samples/samples";
import { oneLine } from "@/lib/text";
import { LiveState } from "@/ui/live";
import { Loading } from "@/ui/states";
import { Line } from "@/ui/text";

const route = getRouteApi("/runs/$id/samples/$task");

export function SamplesPage() {
  const { id, task } = route.useParams();
  const { doc } = useParams({ strict: false });
  const view = route.useSearch();
  const query = useQuery(jobQuery(id));
  const state = useLiveJob(id, query.data !== undefined && !ENDED.has(query.data.status));
  return (
    <div className="page samples-page">
      <title>{`${oneLine(task, 60)} · ${oneLine(id, 60)} · lmms-eval`}</title>
      <div className="heading">
        <h1>
          <Line text={task} />
        </h1>
        <span>
          of{" "}
          <Link to="/runs/$id" params={{ id }}>
            <Line text={id} />
          </Link>
        </span>
        <LiveState state={state} />
      </div>
      <Loading query={query}>
        {(job) => <Samples key={`${job.status} ${view.filter}`} job={job} task={task} view={view} doc={doc} />}
      </Loading>
    </div>
  );
}
