// One sample whole: prompt, target beside answer, raw answer, metrics, and what else lmms-eval wrote.

import { formatNumber } from "@/lib/format";
import type { ShownSample } from "@/lib/sample";
import { toText } from "@/lib/text";
import { announce } from "@/ui/announce";
import { copyLink } from "@/ui/keys";
import { Line, LongText } from "@/ui/text";
import { Verdict } from "./verdict";

interface Props {
  sample: ShownSample;
  scored: boolean;
  onPrevious: (() => void) | undefined;
  onNext: (() => void) | undefined;
  onBack: () => void;
}

export function SampleText({ sample, scored, onPrevious, onNext, onBack }: Props) {
  return (
    <article className="sample" aria-labelledby="sample">
      <div className="heading">
        <h2 id="sample">
          <Verdict verdict={sample.verdict} /> Sample <bdi>{sample.key}</bdi>
        </h2>
        {!scored && <span className="badge warning">not scored</span>}
        <div className="actions">
          <button type="button" className="narrow-only" onClick={onBack}>
            List
          </button>
          <button type="button" disabled={!onPrevious} onClick={onPrevious} title="k">
            Previous
          </button>
          <button type="button" disabled={!onNext} onClick={onNext} title="j">
            Next
          </button>
          <button type="button" title="y" onClick={() => void sayWhetherCopied()}>
            Copy link
          </button>
        </div>
      </div>
      {sample.metrics.length > 0 && (
        <ul className="sample-metrics" aria-label="Metrics">
          {sample.metrics.map(([name, value]) => (
            <li key={name}>
              <Line text={name} most={60} /> <b>{formatNumber(value)}</b>
            </li>
          ))}
        </ul>
      )}
      {sample.prompt.trim() && <Part title="Prompt" text={sample.prompt} />}
      <div className="beside">
        <Part title="Target" text={sample.target} none={scored ? "empty" : "not known before it is scored"} />
        <Part title="Answer" text={sample.answer} />
      </div>
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

function Part({ title, text, none = "empty" }: { title: string; text: string; none?: string }) {
  return (
    <section className="part">
      <h3>
        <Line text={title} most={80} />
      </h3>
      {text.trim() ? <LongText text={text} label={title} /> : <p className="empty">{none}</p>}
    </section>
  );
}
