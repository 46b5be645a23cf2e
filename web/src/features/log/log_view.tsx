// The log of an attempt: only the lines in sight are in the page.

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState } from "react";
import { apiUrl } from "@/api/base";
import type { JobInfo } from "@/api/client";
import { ENDED } from "@/api/job";
import { Empty, ErrorNotice, Skeleton } from "@/ui/states";
import type { LogLines } from "./log_lines";
import { useLog } from "./use_log";

const LINE_PX = 20;

export function LogView({ job, attempt }: { job: JobInfo; attempt: number | undefined }) {
  const isLast = attempt === undefined || attempt === job.attempt;
  const { log, state, error } = useLog({
    id: job.job_id,
    attempt,
    follow: isLast && !ENDED.has(job.status) && job.attempt !== null,
  });
  const query = attempt ? `?attempt=${attempt}` : "";
  return (
    <section aria-labelledby="log" className="log-section">
      <div className="heading">
        <h2 id="log">Log{(attempt ?? job.attempt) ? ` of attempt ${attempt ?? job.attempt}` : ""}</h2>
        {state === "following" && <span className="stream live">following</span>}
        {state === "broken" && !error && <span className="stream connecting">connecting …</span>}
        <a href={apiUrl(`/jobs/${encodeURIComponent(job.job_id)}/logs${query}`)} download={`${job.job_id}.log`}>
          Download
        </a>
      </div>
      {error !== null && <ErrorNotice error={error} />}
      {state === "loading" && !log.lines.length && <Skeleton lines={8} label="Loading the log" />}
      {state === "ended" && !log.lines.length && <Empty>The log is empty.</Empty>}
      {log.lines.length > 0 && <Lines log={log} />}
    </section>
  );
}

function Lines({ log }: { log: LogLines }) {
  const box = useRef<HTMLDivElement>(null);
  const [follows, setFollows] = useState(true);
  const rows = useVirtualizer({
    count: log.lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => LINE_PX,
    overscan: 20,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new line moves the end.
  useEffect(() => {
    const shown = box.current;
    if (follows && shown) shown.scrollTop = shown.scrollHeight;
  }, [follows, log]);
  return (
    <>
      <div
        ref={box}
        className="log"
        role="log"
        aria-label="Lines of the log"
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls has to be reachable by keyboard.
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) =>
          setFollows(scrollHeight - scrollTop - clientHeight < 2 * LINE_PX)
        }
      >
        <div className="lines" style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((row) => (
            <div key={row.key} className="log-line" style={{ transform: `translateY(${row.start}px)` }}>
              <span className="line-number" aria-hidden="true">
                {log.dropped + row.index + 1}
              </span>
              <bdi>{log.lines[row.index]}</bdi>
            </div>
          ))}
        </div>
      </div>
      {!follows && (
        <button type="button" className="quiet" onClick={() => setFollows(true)}>
          To the end
        </button>
      )}
    </>
  );
}
