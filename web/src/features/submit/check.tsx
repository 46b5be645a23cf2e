import { ApiProblem } from "@/api/problems";
import { ErrorNotice } from "@/ui/states";
import type { useCheck } from "./use_check";

/** What the cluster says of the request as it is: refused, doubtful, or good. */
export function Check({ check, rest }: { check: ReturnType<typeof useCheck>; rest: string[] }) {
  if (!check.isComplete) return <p className="quiet">Choose a model and a task; the cluster then checks it.</p>;
  if (check.isFetching || !check.isCurrent) return <p className="quiet">Checking …</p>;
  if (check.error instanceof ApiProblem && check.error.fields.length) {
    return (
      <div className="notice error" role="status">
        <p>The cluster would refuse this; the fields say why.</p>
        {rest.map((sentence) => (
          <p key={sentence}>
            <bdi>{sentence}</bdi>
          </p>
        ))}
      </div>
    );
  }
  if (check.error) return <ErrorNotice error={check.error} onRetry={() => void check.refetch()} />;
  return (
    <div role="status">
      <p className="good">✓ The cluster would accept this.</p>
      {check.data?.warnings.map((warning) => (
        <div key={warning} className="notice warning">
          <bdi>{warning}</bdi>
        </div>
      ))}
    </div>
  );
}
