import { Link } from "@tanstack/react-router";
import type { JobSummary } from "@/api/client";
import { formatAge, formatDuration, formatNumber, halfWidth, secondsBetween, spellReason } from "@/lib/format";
import { nameMetric } from "@/lib/scores";
import { useNow } from "@/ui/clock";
import { Status, SuspectBadge } from "@/ui/status";
import { Line } from "@/ui/text";
import { RunName } from "./parts";
import { PickBox } from "./picks";

/** A run that has ended: its score with its error, or why there is none. */
export function EndedRow({ job }: { job: JobSummary }) {
  const now = useNow();
  const seconds = secondsBetween(job.started_at, job.completed_at);
  return (
    <li>
      <RunName job={job} />
      <div className="how">
        <Status status={job.status} /> {job.suspect && <SuspectBadge />}
        <Outcome job={job} />
        <div className="quiet">
          {formatAge(job.completed_at ?? job.created_at, now)}
          {seconds !== null && `, after ${formatDuration(seconds)}`}
        </div>
      </div>
      <div className="actions">
        {job.status === "completed" && <PickBox job={job} />}
        <Link to="/submit" search={{ from: job.job_id }} className="button" aria-label={`Run again: ${job.job_id}`}>
          Run again
        </Link>
      </div>
    </li>
  );
}

function Outcome({ job }: { job: JobSummary }) {
  if (job.status !== "completed") {
    return (
      <span className="why">
        {spellReason(job.reason)}
        {job.message && (
          <>
            {": "}
            <Line text={job.message} />
          </>
        )}
      </span>
    );
  }
  const score = job.score;
  if (!score) return <Line text={job.summary ?? "no scores"} />;
  const error = halfWidth(score.stderr);
  return (
    <span className="score" title="With the 95 % interval, 1.96 standard errors to each side">
      <Line text={score.task} most={60} /> <b>{formatNumber(score.value)}</b>
      {error !== null && <span className="error-range"> ± {formatNumber(error)}</span>}{" "}
      <span className="quiet">
        <Line text={nameMetric(score.metric)} most={40} />
      </span>
    </span>
  );
}
