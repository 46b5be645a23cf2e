// Runs compared with one of them: is one better, or not told apart? The address holds which.

import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { compareQuery } from "@/api/compare";
import { ComparedRuns } from "@/features/compare/compared_runs";
import { Comparison } from "@/features/compare/comparison";
import { chooseBase, listRuns, toggleRun } from "@/lib/compare";
import { moveFocus, useKeys } from "@/ui/keys";
import { Empty, Loading } from "@/ui/states";

const route = getRouteApi("/compare");

export function ComparePage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { base = "", others } = chooseBase(search);
  const query = useQuery(compareQuery(base, others));
  const makeBase = (name: string | undefined) => {
    if (name && name !== base) void navigate({ search: { runs: search.runs, base: name }, replace: true });
  };
  useKeys([
    { keys: "j", does: "Next run", run: () => moveFocus(1) },
    { keys: "k", does: "Previous run", run: () => moveFocus(-1) },
    {
      keys: "b",
      does: "Make the run with the focus the baseline, or the next one",
      run: () => makeBase(chosenRun(search)),
    },
    {
      keys: "Escape",
      does: "Back to the runs",
      run: () => void navigate({ to: "/runs", search: { pick: search.runs } }),
    },
  ]);
  return (
    <div className="page">
      <title>Compare · lmms-eval</title>
      <div className="heading">
        <h1>Compare</h1>
        <div className="actions">
          <Link to="/runs" search={{ pick: search.runs }} className="button">
            Pick other runs
          </Link>
        </div>
      </div>
      {base && (
        <ComparedRuns
          base={base}
          others={others}
          runs={query.data?.runs ?? []}
          onBase={makeBase}
          onRemove={(name) =>
            void navigate({ search: { ...search, runs: toggleRun(search.runs, name) ?? undefined }, replace: true })
          }
        />
      )}
      {others.length ? (
        <div className="comparison-parts">
          <Loading query={query} lines={6}>
            {(comparison) => <Comparison base={base} search={search} comparison={comparison} />}
          </Loading>
        </div>
      ) : (
        <Empty>Pick two to five completed runs in the list of runs: x picks the one with the focus, c compares.</Empty>
      )}
    </div>
  );
}

/** The run whose row has the focus; without one, the run behind the baseline. */
function chosenRun(search: { runs?: string | undefined; base?: string | undefined }): string | undefined {
  const focused = (document.activeElement as HTMLElement | null)?.dataset.row;
  if (focused) return focused;
  const names = listRuns(search.runs);
  return names[(names.indexOf(chooseBase(search).base ?? "") + 1) % names.length];
}
