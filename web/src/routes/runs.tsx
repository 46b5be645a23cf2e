// All runs: what runs now, what waits, what has ended.

import { getRouteApi } from "@tanstack/react-router";
import { useMemo } from "react";
import { useLiveJobs } from "@/api/live";
import { Filters } from "@/features/runs/filters";
import { PickedBar, PicksContext, usePicks } from "@/features/runs/picks";
import { RunSection } from "@/features/runs/section";
import type { Section } from "@/lib/job_pages";
import { sectionStatuses } from "@/lib/job_pages";
import { keepPicks, readJobFilter } from "@/lib/search";
import { moveFocus, useKeys } from "@/ui/keys";
import { LiveState } from "@/ui/live";

const route = getRouteApi("/runs");
const SECTIONS: Record<Section, { title: string; none: string }> = {
  running: { title: "Now", none: "Nothing runs." },
  queued: { title: "Queue", none: "Nothing waits." },
  ended: { title: "History", none: "Nothing has ended yet." },
};

export function RunsPage() {
  const search = route.useSearch();
  const { pick } = search;
  // The same filter is the same object, whatever is picked.
  const key = JSON.stringify(readJobFilter(search));
  const filter = useMemo(() => readJobFilter(JSON.parse(key)), [key]);
  const navigate = route.useNavigate();
  const state = useLiveJobs();
  const picks = usePicks(pick, (next) => void navigate({ search: keepPicks(filter, next), replace: true }));
  useKeys([
    { keys: "j", does: "Next run", run: () => moveFocus(1) },
    { keys: "k", does: "Previous run", run: () => moveFocus(-1) },
    { keys: "/", does: "Search", run: () => document.getElementById("filter-task")?.focus() },
    { keys: "Escape", does: "All runs, without filters", run: () => void navigate({ search: keepPicks({}, pick) }) },
  ]);
  const shown = (Object.keys(SECTIONS) as Section[]).filter((section) => sectionStatuses(section, filter).length > 0);
  return (
    <div className="page">
      <title>Runs · lmms-eval</title>
      <div className="heading">
        <h1>Runs</h1>
        <LiveState state={state} />
      </div>
      <Filters filter={filter} onChange={(next) => void navigate({ search: keepPicks(next, pick), replace: true })} />
      <PicksContext value={picks}>
        {shown.map((section) => (
          <RunSection key={section} section={section} filter={filter} {...SECTIONS[section]} />
        ))}
      </PicksContext>
      <PickedBar
        picked={picks.picked}
        onClear={() => void navigate({ search: keepPicks(filter, undefined), replace: true })}
      />
    </div>
  );
}
