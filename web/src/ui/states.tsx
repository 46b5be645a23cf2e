// What stands where data is not there: not yet, none, or an error.

import { type ReactNode, useEffect, useState } from "react";
import { ApiProblem, describeError } from "@/api/problems";

/** Lines in place of data that loads; the stylesheet shows them after 150 ms. */
export function Skeleton({ lines = 3, label = "Loading" }: { lines?: number; label?: string }) {
  return (
    <div className="skeleton" role="status" aria-label={label}>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} />
      ))}
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="empty">{children}</p>;
}

/** An error in the API's own words. Where it says when to try again, that is counted down and done. */
export function ErrorNotice({ error, onRetry }: { error: unknown; onRetry?: (() => void) | undefined }) {
  const wait = error instanceof ApiProblem ? error.retryAfter : null;
  return (
    <div className="notice error" role="alert">
      <p>
        <bdi>{describeError(error)}</bdi>
      </p>
      {onRetry &&
        (wait ? (
          <Countdown key={String(error)} seconds={wait} onEnd={onRetry} />
        ) : (
          <button type="button" onClick={onRetry}>
            Try again
          </button>
        ))}
    </div>
  );
}

function Countdown({ seconds, onEnd }: { seconds: number; onEnd: () => void }) {
  const [left, setLeft] = useState(seconds);
  useEffect(() => {
    if (left <= 0) {
      onEnd();
      return;
    }
    const timer = setTimeout(() => setLeft(left - 1), 1000);
    return () => clearTimeout(timer);
  }, [left, onEnd]);
  return <p className="quiet">{left > 0 ? `Trying again in ${left} s` : "Trying again"}</p>;
}

interface Loaded<Data> {
  data: Data | undefined;
  error: unknown;
  refetch: () => unknown;
}

/** The data, with an error above it where it is old; or what stands in its place. */
export function Loading<Data>({
  query,
  lines,
  children,
}: {
  query: Loaded<Data>;
  lines?: number;
  children: (data: Data) => ReactNode;
}) {
  const failed = query.error ? <ErrorNotice error={query.error} onRetry={() => void query.refetch()} /> : null;
  if (query.data === undefined) return failed ?? <Skeleton lines={lines ?? 3} />;
  return (
    <>
      {failed}
      {children(query.data)}
    </>
  );
}
