// A sample in several runs: its media, prompt and target once where they are the same, the answers side by side.

import { useQueries } from "@tanstack/react-query";
import { useState } from "react";
import { sampleQuery } from "@/api/explore";
import { SampleMedia } from "@/features/samples/media";
import { Part } from "@/features/samples/part";
import { Verdict } from "@/features/samples/verdict";
import { formatNumber } from "@/lib/format";
import { haveSameMedia } from "@/lib/media";
import { readDetail, type ShownSample } from "@/lib/sample";
import { readSetting, writeSetting } from "@/lib/storage";
import { diffWords } from "@/lib/word_diff";
import { useKeys } from "@/ui/keys";
import { ErrorNotice, Skeleton } from "@/ui/states";
import { Line, MarkedText } from "@/ui/text";

export interface Side {
  run: string;
  sample: ShownSample;
}

interface Props {
  task: string;
  doc: string;
  /** Of which of lmms-eval's filters, where the task has several. */
  of: string | undefined;
  runs: string[];
}

export function SideBySide({ task, doc, of, runs }: Props) {
  const queries = useQueries({ queries: runs.map((run) => sampleQuery(run, task, doc, of)) });
  const sides = queries.flatMap(({ data }, place): Side[] =>
    data ? [{ run: runs[place] ?? "", sample: readDetail(data) }] : [],
  );
  const failed = queries.find((query) => query.error);
  return (
    <>
      {failed && <ErrorNotice error={failed.error} onRetry={() => void failed.refetch()} />}
      {queries.some((query) => query.isPending) ? <Skeleton lines={6} /> : <Sides sides={sides} />}
    </>
  );
}

function Sides({ sides }: { sides: Side[] }) {
  const [marked, setMarked] = useState(() => readSetting("diff") !== "off");
  const mark = (on: boolean) => {
    setMarked(on);
    writeSetting("diff", on ? "on" : "off");
  };
  useKeys([{ keys: "d", does: "Mark the words that differ, or do not", run: () => mark(!marked) }]);
  const [first] = sides;
  if (!first) return null;
  const target = first.sample.target;
  return (
    <>
      <SharedMedia sides={sides} />
      <Texts title="Prompt" sides={sides} read={(sample) => sample.prompt} marked={marked} shared />
      {target.trim() && <Part title="Target" text={target} />}
      <Texts title="Answer" sides={sides} read={(sample) => sample.answer} marked={marked} />
      <label className="check" title="d">
        <input type="checkbox" checked={marked} onChange={(event) => mark(event.target.checked)} />
        Mark the words that differ
      </label>
    </>
  );
}

function SharedMedia({ sides }: { sides: Side[] }) {
  const [first, ...others] = sides;
  if (!first || !sides.some(({ sample }) => sample.media.length || sample.mediaMore)) return null;
  const isSame = others.every(({ sample }) => haveSameMedia(first.sample.media, sample.media));
  return (
    <>
      {!isSame && <p className="notice warning">The runs did not get the same media for this sample.</p>}
      {(isSame ? [first] : sides).map(({ run, sample }) => (
        <div key={run}>
          {!isSame && (
            <p className="quiet">
              <Line text={run} most={80} />
            </p>
          )}
          <SampleMedia job={run} sample={sample.key} media={sample.media} more={sample.mediaMore} />
        </div>
      ))}
    </>
  );
}

interface TextsProps {
  title: string;
  sides: Side[];
  read: (sample: ShownSample) => string;
  marked: boolean;
  /** Whether it is shown once where it is the same in all runs. */
  shared?: boolean;
}

function Texts({ title, sides, read, marked, shared = false }: TextsProps) {
  const [first, second] = sides;
  if (!first) return null;
  const own = read(first.sample);
  if (shared && sides.every(({ sample }) => read(sample) === own)) {
    return own.trim() ? <Part title={title} text={own} /> : null;
  }
  return (
    <div className="beside several">
      {sides.map(({ run, sample }) => {
        const isFirst = run === first.run;
        const label = `${title} of ${run}`;
        // The baseline is marked against the next run, each other one against the baseline.
        const text = read(sample);
        const [before, after] = isFirst ? [own, second ? read(second.sample) : own] : [own, text];
        const diff = marked && before.trim() && after.trim() ? diffWords(before, after) : null;
        return (
          <div key={run}>
            {!shared && <Judged sample={sample} />}
            <Part title={label} text={text}>
              {diff?.related ? (
                <MarkedText parts={isFirst ? diff.before : diff.after} mark={isFirst ? "del" : "ins"} label={label} />
              ) : null}
            </Part>
          </div>
        );
      })}
    </div>
  );
}

function Judged({ sample }: { sample: ShownSample }) {
  return (
    <div className="sample-numbers">
      <Verdict verdict={sample.verdict} />
      <ul className="sample-metrics" aria-label="Metrics">
        {sample.metrics.map(([name, value]) => (
          <li key={name}>
            <Line text={name} most={60} /> <b>{formatNumber(value)}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}
