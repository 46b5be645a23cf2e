// The samples of a task that changed between runs. The address holds which runs, which samples, and the one shown.

import { getRouteApi, Link, useParams } from "@tanstack/react-router";
import { Flips } from "@/features/flips/flips";
import { chooseBase } from "@/lib/compare";
import { oneLine } from "@/lib/text";
import { Empty } from "@/ui/states";
import { Line } from "@/ui/text";

const route = getRouteApi("/compare/$task");

export function FlipsPage() {
  const { task } = route.useParams();
  const { doc } = useParams({ strict: false });
  const search = route.useSearch();
  const { base, others } = chooseBase(search);
  return (
    <div className="page samples-page">
      <title>{`${oneLine(task, 60)} · Compare · lmms-eval`}</title>
      <div className="heading">
        <h1>
          <Line text={task} />
        </h1>
        <span>
          of{" "}
          <Link to="/compare" search={{ runs: search.runs, base: search.base }}>
            <Line text={[...others, base].join(", ")} most={200} />
          </Link>
        </span>
      </div>
      {base && others.length ? (
        <Flips base={base} others={others} task={task} doc={doc} search={search} />
      ) : (
        <Empty>The address names no two runs to compare.</Empty>
      )}
    </div>
  );
}
