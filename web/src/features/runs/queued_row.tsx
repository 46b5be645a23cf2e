import type { JobSummary } from "@/api/client";
import { formatAge, spellReason } from "@/lib/format";
import { useNow } from "@/ui/clock";
import { Line } from "@/ui/text";
import { CancelButton, HoldButton, PriorityField } from "./actions";
import { RunName } from "./parts";

/** A run that waits: its place, why, and what changes that. */
export function QueuedRow({ job }: { job: JobSummary }) {
  const now = useNow();
  const position = job.position_in_queue;
  return (
    <li>
      <span className="position" title="Place in the queue">
        {typeof position === "number" ? `#${position + 1}` : "–"}
      </span>
      <RunName job={job} />
      <div className="how">
        <div className="why">
          {job.hold ? "on hold" : spellReason(job.reason) || "waiting"}
          {job.message && (
            <>
              {": "}
              <Line text={job.message} />
            </>
          )}
        </div>
        <div className="quiet">submitted {formatAge(job.created_at, now)}</div>
      </div>
      <div className="actions">
        <PriorityField id={job.job_id} priority={job.priority} />
        <HoldButton id={job.job_id} hold={job.hold} />
        <CancelButton id={job.job_id} />
      </div>
    </li>
  );
}
