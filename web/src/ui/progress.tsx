import type { Progress } from "@/api/client";
import { formatDuration } from "@/lib/format";
import { oneLine } from "@/lib/text";

/** How far a run is, and how long it still takes; without numbers, its stage. */
export function ProgressBar({ progress, label }: { progress: Progress | null | undefined; label: string }) {
  const { completed, total, percent, eta_seconds: eta, stage } = progress ?? {};
  const hasNumbers = typeof completed === "number" && typeof total === "number" && total > 0;
  return (
    <div className="progress">
      {hasNumbers ? (
        <progress aria-label={label} value={Math.min(completed, total)} max={total} />
      ) : (
        <progress aria-label={label} />
      )}
      <span className="numbers">
        {hasNumbers
          ? `${completed.toLocaleString("en")} of ${total.toLocaleString("en")}${typeof percent === "number" ? ` · ${percent} %` : ""}`
          : oneLine(stage ?? "starting", 40)}
        {typeof eta === "number" && ` · ${formatDuration(eta)} left`}
      </span>
    </div>
  );
}
