// Warnings, metrics, samples and attempts of a run.

import { Link } from "@tanstack/react-router";
import type { JobInfo } from "@/api/client";
import { Empty } from "@/ui/states";
import { Line, LongText } from "@/ui/text";
import { Attempts } from "./attempts";
import { Metrics } from "./metrics";

export function Overview({ job }: { job: JobInfo }) {
  return (
    <>
      {job.warnings.map((warning) => (
        <div key={warning} className="notice warning">
          <LongText text={warning} label="Warning" />
        </div>
      ))}
      {job.error && (
        <section aria-labelledby="error">
          <h2 id="error">Error</h2>
          <LongText text={job.error} label="Error" />
        </section>
      )}
      <section aria-labelledby="metrics">
        <h2 id="metrics">Metrics</h2>
        {job.scores && Object.keys(job.scores).length ? (
          <Metrics scores={job.scores} />
        ) : (
          <Empty>{whyNoScores(job)}</Empty>
        )}
      </section>
      <SampleLinks job={job} />
      {job.attempts.length > 0 && <Attempts job={job} />}
    </>
  );
}

function whyNoScores(job: JobInfo): string {
  if (job.status === "queued") return "It has not started yet.";
  if (job.status === "running") return "lmms-eval scores when all answers are there.";
  if (job.request.predict_only) return "It was asked for answers alone (predict_only).";
  return job.status === "completed" ? "lmms-eval reported no scores." : "It ended before lmms-eval scored.";
}

/** The tasks whose samples can be looked at; while it runs, those whose answers can. */
function SampleLinks({ job }: { job: JobInfo }) {
  const stored = Object.keys(job.links?.samples ?? {});
  const asked = Array.isArray(job.request.tasks) ? job.request.tasks.map(String) : [];
  const hasAnswers = job.attempt !== null && job.status !== "completed" && job.request.log_samples !== false;
  const tasks = stored.length ? stored : hasAnswers ? asked : [];
  if (!tasks.length) return null;
  return (
    <section aria-labelledby="samples">
      <h2 id="samples">
        {stored.length ? "Samples" : job.status === "running" ? "Answers so far, not scored" : "Answers, never scored"}
      </h2>
      <ul className="links">
        {tasks.map((task) => (
          <li key={task}>
            <Link to="/runs/$id/samples/$task" params={{ id: job.job_id, task }}>
              <Line text={task} most={100} />
            </Link>
            {stored.length > 0 && (
              <Link
                to="/runs/$id/samples/$task"
                params={{ id: job.job_id, task }}
                search={{ filter: "wrong" }}
                aria-label={`wrong ones of ${task}`}
              >
                wrong ones
              </Link>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
