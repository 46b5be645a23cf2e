// One sample whole: media, prompt, target beside answer, raw answer, metrics, and what else lmms-eval wrote.

import { formatAge, formatNumber } from "@/lib/format";
import type { ShownSample } from "@/lib/sample";
import { toText } from "@/lib/text";
import { announce } from "@/ui/announce";
import { useNow } from "@/ui/clock";
import { copyLink } from "@/ui/keys";
import { Steps } from "@/ui/steps";
import { Line } from "@/ui/text";
import { Compared } from "./compared";
import { SampleMedia } from "./media";
import type { Ways } from "./navigation";
import { Part } from "./part";
import { Verdict } from "./verdict";

interface Props {
  job: string;
  sample: ShownSample;
  scored: boolean;
  ways: Ways;
}

export function OneSample({ job, sample, scored, ways }: Props) {
  const { previous, next, back } = ways;
  return (
    <article className="sample" aria-labelledby="sample">
      {sample.omitted && (
        <p className="notice">
          <bdi>{sample.omitted}</bdi>
        </p>
      )}
      <div className="heading">
        <h2 id="sample">
          <Verdict verdict={sample.verdict} /> Sample <bdi>{sample.key}</bdi>
        </h2>
        {!scored && <span className="badge warning">not scored</span>}
        <div className="actions">
          <Steps back={back} previous={previous} next={next} />
          <button type="button" title="y" onClick={() => void sayWhetherCopied()}>
            Copy link
          </button>
        </div>
      </div>
      <Numbers sample={sample} />
      <SampleMedia job={job} sample={sample.key} media={sample.media} more={sample.mediaMore} />
      {sample.prompt.trim() && <Part title="Prompt" text={sample.prompt} />}
      {!sample.omitted && (
        <Compared
          target={sample.target}
          answer={sample.answer}
          noTarget={scored ? "empty" : "not known before it is scored"}
        />
      )}
      {sample.raw && <Part title="Answer before lmms-eval's filters" text={sample.raw} />}
      {sample.rest.length > 0 && (
        <details>
          <summary>What else lmms-eval wrote</summary>
          {sample.rest.map(([name, value]) => (
            <Part key={name} title={name} text={toText(value)} />
          ))}
        </details>
      )}
    </article>
  );
}

async function sayWhetherCopied(): Promise<void> {
  announce((await copyLink()) ? "The link is copied." : "The browser did not allow to copy; the address bar has it.");
}

function Numbers({ sample }: { sample: ShownSample }) {
  const age = formatAge(sample.time, useNow());
  const count = (value: number, noun: string) => `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
  return (
    <div className="sample-numbers">
      {sample.metrics.length > 0 && (
        <ul className="sample-metrics" aria-label="Metrics">
          {sample.metrics.map(([name, value]) => (
            <li key={name}>
              <Line text={name} most={60} /> <b>{formatNumber(value)}</b>
            </li>
          ))}
        </ul>
      )}
      <span className="quiet">
        Answer of {count(sample.length, "character")}
        {sample.tokens !== undefined && `, ${count(sample.tokens, "token")}`}
        {age && `, given ${age}`}
      </span>
    </div>
  );
}
