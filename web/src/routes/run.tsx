// One run: how it stands, its metrics, log, configuration and files.

import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { ENDED, jobQuery } from "@/api/job";
import { useLiveJob } from "@/api/live_job";
import { LogView } from "@/features/log/log_view";
import { Configuration } from "@/features/run/configuration";
import { Files } from "@/features/run/files";
import { RunHeading } from "@/features/run/heading";
import { Overview } from "@/features/run/overview";
import { EXACT, RUN_TABS, type RunTab } from "@/lib/search";
import { oneLine } from "@/lib/text";
import { useKeys } from "@/ui/keys";
import { Loading } from "@/ui/states";

const route = getRouteApi("/runs/$id");
const TITLES: Record<RunTab, string> = { overview: "Overview", log: "Log", config: "Configuration", files: "Files" };

export function RunPage() {
  const { id } = route.useParams();
  const { tab = "overview", attempt } = route.useSearch();
  const navigate = route.useNavigate();
  const query = useQuery(jobQuery(id));
  const state = useLiveJob(id, query.data !== undefined && !ENDED.has(query.data.status));
  useKeys([
    { keys: "Escape", does: "Back to the runs", run: () => void navigate({ to: "/runs" }) },
    { keys: "l", does: "The log", run: () => void navigate({ search: { tab: "log" } }) },
  ]);
  return (
    <div className="page">
      <title>{`${oneLine(id, 60)} · lmms-eval`}</title>
      <Loading query={query} lines={6}>
        {(job) => (
          <>
            <RunHeading job={job} live={state} />
            <nav className="tabs" aria-label="Of this run">
              {RUN_TABS.map((one) => (
                <Link
                  key={one}
                  from="/runs/$id"
                  to="."
                  search={one === "overview" ? {} : { tab: one }}
                  activeOptions={EXACT}
                  aria-current={one === tab ? "page" : undefined}
                  className={one === tab ? "chosen" : ""}
                  replace
                >
                  {TITLES[one]}
                </Link>
              ))}
            </nav>
            {tab === "overview" && <Overview job={job} />}
            {tab === "log" && <LogView key={`${job.attempt}/${attempt}`} job={job} attempt={attempt} />}
            {tab === "config" && <Configuration job={job} />}
            {tab === "files" && <Files job={job} />}
          </>
        )}
      </Loading>
    </div>
  );
}
