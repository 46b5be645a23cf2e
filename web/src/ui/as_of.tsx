// "as of 12 s ago": what is shown is what the front end remembers. It is asked again until it sees the API server.

import { type Query, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useAsOf } from "@/api/freshness";
import { formatDuration } from "@/lib/format";

const TICK_MS = 1000;
const ASK_TICKS = 5;

// What is read from that memory: lists of jobs, and one job.
const isRemembered = ({ queryKey: [kind, ...rest] }: Query) => kind === "jobs" || (kind === "job" && rest.length === 1);

export function AsOf() {
  const asOf = useAsOf();
  return asOf === null ? null : <Since time={asOf} />;
}

function Since({ time }: { time: number }) {
  const queries = useQueryClient();
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    let ticks = 0;
    const timer = setInterval(() => {
      setNow(Date.now());
      ticks += 1;
      if (ticks % ASK_TICKS === 0 && !document.hidden) {
        void queries.refetchQueries({ type: "active", predicate: isRemembered });
      }
    }, TICK_MS);
    return () => clearInterval(timer);
  }, [queries]);
  const seconds = Math.max(0, (now - time) / 1000);
  return (
    <span className="badge warning" title="The front end does not see the API server; jobs go on.">
      as of {formatDuration(seconds)} ago
    </span>
  );
}
