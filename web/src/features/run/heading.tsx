import { Link } from "@tanstack/react-router";
import type { JobInfo } from "@/api/client";
import { ENDED } from "@/api/job";
import type { StreamState } from "@/api/stream";
import { CancelButton, HoldButton, PriorityField } from "@/features/runs/actions";
import { describeState } from "@/lib/sentence";
import { useNow } from "@/ui/clock";
import { LiveState } from "@/ui/live";
import { ProgressBar } from "@/ui/progress";
import { Status, SuspectBadge } from "@/ui/status";
import { LongText } from "@/ui/text";

/** What a run is called, how it stands in one sentence, and what can be done about it. */
export function RunHeading({ job, live }: { job: JobInfo; live: StreamState }) {
  const now = useNow();
  return (
    <header className="run-heading">
      <div className="heading">
        <h1>
          <bdi>{job.job_id}</bdi>
        </h1>
        <Status status={job.status} />
        {job.suspect && <SuspectBadge />}
        <LiveState state={live} />
        <div className="actions">
          {job.status === "queued" && (
            <>
              <PriorityField id={job.job_id} priority={job.priority} />
              <HoldButton id={job.job_id} hold={job.hold} />
            </>
          )}
          {!ENDED.has(job.status) && <CancelButton id={job.job_id} running={job.status === "running"} />}
          {job.status === "completed" && (
            <Link to="/runs" search={{ status: ["completed"], pick: job.job_id }} className="button">
              Compare
            </Link>
          )}
          <Link to="/submit" search={{ from: job.job_id }} className="button">
            Run again
          </Link>
        </div>
      </div>
      <p className="sentence">{describeState(job, now)}</p>
      {job.message && job.message !== job.error && (
        <div className={job.status === "failed" ? "notice error" : "notice"}>
          <LongText text={job.message} label="Message" />
        </div>
      )}
      {job.status === "running" && <ProgressBar progress={job.progress} label="Progress" />}
    </header>
  );
}
