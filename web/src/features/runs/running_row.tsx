import type { JobSummary } from "@/api/client";
import { formatDuration, secondsBetween, spellReason } from "@/lib/format";
import { useNow } from "@/ui/clock";
import { ProgressBar } from "@/ui/progress";
import { Line } from "@/ui/text";
import { CancelButton } from "./actions";
import { RunName } from "./parts";

/** A run that goes on: how far it is, how long it still takes, what it does. */
export function RunningRow({ job }: { job: JobSummary }) {
  const now = useNow();
  const seconds = secondsBetween(job.started_at, now);
  return (
    <li>
      <RunName job={job} />
      <div className="how">
        <ProgressBar progress={job.progress} label={`Progress of ${job.job_id}`} />
        <div className="why">
          {spellReason(job.reason)}
          {seconds !== null && `, for ${formatDuration(seconds)}`}
          {job.message && (
            <>
              {": "}
              <Line text={job.message} />
            </>
          )}
        </div>
      </div>
      <div className="actions">
        <CancelButton id={job.job_id} running />
      </div>
    </li>
  );
}
