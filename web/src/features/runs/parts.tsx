// What the rows of all three lists have in common.

import { Link } from "@tanstack/react-router";
import type { JobSummary } from "@/api/client";
import { oneLine } from "@/lib/text";
import { Line } from "@/ui/text";

const SHOWN_TASKS = 3;
const SHOWN_LABELS = 3;

/** The job's name as a link, and what it evaluates. */
export function RunName({ job }: { job: JobSummary }) {
  const more = job.tasks.length - SHOWN_TASKS;
  const labels = Object.entries(job.labels ?? {}).slice(0, SHOWN_LABELS);
  return (
    <div className="name">
      <Link
        to="/runs/$id"
        params={{ id: job.job_id }}
        data-row=""
        data-completed={job.status === "completed" ? job.job_id : undefined}
      >
        <Line text={job.job_id} most={80} />
      </Link>
      <div className="what">
        <Line text={job.model} most={60} /> <span aria-hidden="true">·</span>{" "}
        <Line text={job.tasks.slice(0, SHOWN_TASKS).join(", ")} most={120} />
        {more > 0 && ` and ${more} more`}
        {labels.map(([key, value]) => (
          <span key={key} className="label" title={oneLine(`${key}=${value}`)}>
            <Line text={value ? `${key}=${value}` : key} most={40} />
          </span>
        ))}
      </div>
    </div>
  );
}
