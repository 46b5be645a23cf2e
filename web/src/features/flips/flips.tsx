// The samples that changed between the baseline and a run, and one of them in all runs.

import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { sampleQuery } from "@/api/explore";
import { flipsQuery } from "@/api/flips";
import { findNeighbours } from "@/features/samples/navigation";
import { FLIP_WORDS, FLIPS, type Flip } from "@/lib/compare";
import { readCard } from "@/lib/sample";
import { EXACT, type FlipSearch } from "@/lib/search";
import { useKeys } from "@/ui/keys";
import { Empty, ErrorNotice, Skeleton } from "@/ui/states";
import { Steps } from "@/ui/steps";
import { Line } from "@/ui/text";
import { FlipList, type FlipRow } from "./flip_list";
import { SideBySide } from "./side_by_side";

interface Props {
  base: string;
  others: string[];
  task: string;
  doc: string | undefined;
  search: FlipSearch;
}

export function Flips({ base, others, task, doc, search }: Props) {
  const navigate = useNavigate();
  const candidate = search.against && others.includes(search.against) ? search.against : (others[0] ?? "");
  const { flip = FLIPS[0], metric, of } = search;
  const list = JSON.stringify([base, candidate, flip, metric, of]);
  const [start, setStart] = useState<{ list: string; row: number }>();
  const around = start?.list === list ? start.row : undefined;
  const query = useInfiniteQuery(flipsQuery({ baseline: base, candidate, task, flip, metric, of }, around));
  const pages = query.data?.pages;
  const rows = useMemo(
    () =>
      (pages ?? []).flatMap((page) =>
        page.samples.map((one): FlipRow => ({ baseline: readCard(one.baseline), candidate: readCard(one.candidate) })),
      ),
    [pages],
  );
  const at = doc === undefined ? -1 : rows.findIndex((row) => row.candidate.key === doc);
  const filter = rows[0]?.candidate.of;
  const sample = useQuery({
    ...sampleQuery(candidate, task, doc ?? "", filter),
    enabled: doc !== undefined && !!pages,
  });
  const row = sample.data?.card.row;
  useMoreFlips(query, { count: rows.length, at });
  useEffect(() => {
    if (doc !== undefined && at < 0 && row !== undefined && row !== around && !query.isFetching)
      setStart({ list, row });
  });

  const show = (next: FlipSearch) => void navigate({ to: "/compare/$task", params: { task }, search: next });
  const goTo = (index: number | undefined) => {
    const found = index === undefined ? undefined : rows[index]?.candidate.key;
    if (found === undefined) return undefined;
    return () => void navigate({ to: "/compare/$task/$doc", params: { task, doc: found }, search });
  };
  const behind = at < 0 && row !== undefined ? rows.findIndex((one) => one.candidate.row > row) : -1;
  const neighbours = findNeighbours(rows.length, doc === undefined ? undefined : at, behind < 0 ? undefined : behind);
  const [previous, next] = neighbours.map(goTo);
  const compare = () => void navigate({ to: "/compare", search: { runs: search.runs, base: search.base } });
  useKeys([
    { keys: "j", does: "Next sample", run: () => next?.() },
    { keys: "k", does: "Previous sample", run: () => previous?.() },
    ...FLIPS.map((one, place) => ({
      keys: String(place + 1),
      does: `Samples: ${FLIP_WORDS[one]}`,
      run: () => show({ ...search, flip: one }),
    })),
    {
      keys: "Escape",
      does: "Back to the list, or to the runs",
      run: () => (doc === undefined ? compare() : show(search)),
    },
  ]);
  const last = pages?.at(-1);
  return (
    <>
      <div className="sample-tools">
        {others.length > 1 && (
          <nav aria-label="Which run" className="tabs">
            {others.map((run) => (
              <Link
                key={run}
                to="/compare/$task"
                params={{ task }}
                search={{ ...search, against: run }}
                className={run === candidate ? "chosen" : ""}
                activeOptions={EXACT}
                aria-current={run === candidate ? "page" : undefined}
              >
                <Line text={run} most={40} />
              </Link>
            ))}
          </nav>
        )}
        <nav aria-label="Which samples" className="tabs">
          {FLIPS.map((one) => (
            <Link
              key={one}
              to="/compare/$task"
              params={{ task }}
              search={{ ...search, flip: one }}
              className={one === flip ? "chosen" : ""}
              activeOptions={EXACT}
              aria-current={one === flip ? "page" : undefined}
            >
              {FLIP_WORDS[one]} <span className="count">{last?.counts[one]?.toLocaleString("en")}</span>
            </Link>
          ))}
        </nav>
        {last && (
          <span className="quiet">
            by <Line text={last.filter === "none" ? last.metric : `${last.metric} ${last.filter}`} most={80} />
          </span>
        )}
      </div>
      {query.error && <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />}
      {query.isPending && <Skeleton lines={8} label="Loading samples" />}
      {last && last.matched === 0 && <Empty>{whyNone(flip)}</Empty>}
      {last && (rows.length > 0 || doc !== undefined) && (
        <div className={doc === undefined ? "split" : "split open"}>
          <FlipList
            key={around ?? "start"}
            rows={rows}
            first={pages?.[0]?.place ?? 0}
            total={last.matched}
            at={at}
            task={task}
            search={search}
            hasMore={query.hasNextPage}
            onMore={() => !query.isFetching && void query.fetchNextPage()}
            onBefore={() => query.hasPreviousPage && !query.isFetching && void query.fetchPreviousPage()}
          />
          {doc === undefined ? (
            <p className="empty hint">Choose a sample; j and k go on from there.</p>
          ) : (
            <article className="sample" aria-labelledby="sample">
              <div className="heading">
                <h2 id="sample">
                  Sample <bdi>{doc}</bdi>
                </h2>
                <div className="actions">
                  <Steps back={() => show(search)} previous={previous} next={next} />
                </div>
              </div>
              <SideBySide key={`${doc} ${filter}`} task={task} doc={doc} of={filter} runs={[base, ...others]} />
            </article>
          )}
        </div>
      )}
    </>
  );
}

interface Pages {
  isFetching: boolean;
  hasNextPage: boolean;
  fetchNextPage: () => unknown;
}

/** Load the neighbours of the sample that is shown before they are asked for. */
function useMoreFlips({ isFetching, hasNextPage, fetchNextPage }: Pages, { count, at }: { count: number; at: number }) {
  const needsMore = at >= 0 && at >= count - 2;
  useEffect(() => {
    if (needsMore && hasNextPage && !isFetching) void fetchNextPage();
  }, [needsMore, hasNextPage, isFetching, fetchNextPage]);
}

function whyNone(flip: Flip): string {
  if (flip === "both_wrong") return "No sample is wrong in both runs.";
  return `No sample was ${flip}.`;
}
