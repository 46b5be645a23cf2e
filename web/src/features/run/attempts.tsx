import { Link } from "@tanstack/react-router";
import type { Attempt, JobInfo } from "@/api/client";
import { formatDuration, secondsBetween, spellReason } from "@/lib/format";
import { useNow } from "@/ui/clock";
import { Line } from "@/ui/text";

/** The attempts, the last one first: where each ran, how long, how it ended, what it went on with. */
export function Attempts({ job }: { job: JobInfo }) {
  return (
    <section aria-labelledby="attempts">
      <h2 id="attempts">Attempts</h2>
      <ul className="rows attempts">
        {job.attempts.toReversed().map((attempt) => (
          <Row key={attempt.number} attempt={attempt} />
        ))}
      </ul>
    </section>
  );
}

function Row({ attempt }: { attempt: Attempt }) {
  const now = useNow();
  const seconds = secondsBetween(attempt.started_at, attempt.ended_at ?? now);
  const { resumed, started_anew: anew } = attempt;
  return (
    <li>
      <div>
        <b>Attempt {attempt.number}</b> {spellReason(attempt.reason)}
        <div className="quiet">
          {attempt.node && (
            <>
              on <Line text={attempt.node} most={80} />
              {", "}
            </>
          )}
          {seconds !== null && formatDuration(seconds)}
          {typeof attempt.exit_code === "number" && `, exit code ${attempt.exit_code}`}
          {attempt.free && ", not counted as a retry"}
        </div>
      </div>
      <div className="why">
        {attempt.message && <Line text={attempt.message} most={500} />}
        {resumed && (
          <div>
            Went on with {resumed.answers.toLocaleString("en")} answers of attempt {resumed.from_attempt} (
            {resumed.exactness}).
          </div>
        )}
        {anew && (
          <div>
            Computed all answers again: <Line text={anew} most={300} />
          </div>
        )}
      </div>
      <div className="actions">
        <Link from="/runs/$id" to="." search={{ tab: "log", attempt: attempt.number }} className="button">
          Log
        </Link>
      </div>
    </li>
  );
}
