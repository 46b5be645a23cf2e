// All runs: what runs now, what waits, what has ended.

import { getRouteApi } from "@tanstack/react-router";
import { useLiveJobs } from "@/api/live";
import { Filters } from "@/features/runs/filters";
import { RunSection } from "@/features/runs/section";
import type { Section } from "@/lib/job_pages";
import { sectionStatuses } from "@/lib/job_pages";
import { moveFocus, useKeys } from "@/ui/keys";
import { LiveState } from "@/ui/live";

const route = getRouteApi("/runs");
const SECTIONS: Record<Section, { title: string; none: string }> = {
  running: { title: "Now", none: "Nothing runs." },
  queued: { title: "Queue", none: "Nothing waits." },
  ended: { title: "History", none: "Nothing has ended yet." },
};

export function RunsPage() {
  const filter = route.useSearch();
  const navigate = route.useNavigate();
  const state = useLiveJobs();
  useKeys([
    { keys: "j", does: "Next run", run: () => moveFocus(1) },
    { keys: "k", does: "Previous run", run: () => moveFocus(-1) },
    { keys: "/", does: "Search", run: () => document.getElementById("filter-task")?.focus() },
    { keys: "Escape", does: "All runs, without filters", run: () => void navigate({ search: {} }) },
  ]);
  const shown = (Object.keys(SECTIONS) as Section[]).filter((section) => sectionStatuses(section, filter).length > 0);
  return (
    <div className="page">
      <title>Runs · lmms-eval</title>
      <div className="heading">
        <h1>Runs</h1>
        <LiveState state={state} />
      </div>
      <Filters filter={filter} onChange={(search) => void navigate({ search, replace: true })} />
      {shown.map((section) => (
        <RunSection key={section} section={section} filter={filter} {...SECTIONS[section]} />
      ))}
    </div>
  );
}
