// One sample of lmms-eval's file, or one live answer, as the page shows it. Whatever a run wrote is taken as it is.

import type { SampleCard, SampleDetail } from "@/api/client";
import { type Media, readMedia } from "./media";
import { oneLine, toText } from "./text";

type Json = Record<string, unknown>;

/** null where nothing tells. */
export type SampleVerdict = "right" | "wrong" | "empty" | "failed" | null;

/** What a list shows of a sample. */
export interface SampleRow {
  /** For addresses: the document's id, or #N by its place. */
  key: string;
  /** The filter of lmms-eval whose answer it is, where the task has several. */
  of: string | undefined;
  /** Its place in the file of samples, from 0. */
  row: number;
  verdict: SampleVerdict;
  summary: string;
  /** What stands for its media; undefined where it has none. */
  media: Media | undefined;
}

export interface ShownSample {
  /** Why the front end does not pass the sample on, as where it is megabytes long. */
  omitted: string;
  /** For addresses: the document's id, or #N by its place. */
  key: string;
  prompt: string;
  target: string;
  /** The answer after lmms-eval's filters; of a live answer, as it came. */
  answer: string;
  /** As the model gave it, where that differs. */
  raw: string;
  metrics: [name: string, value: number][];
  rest: [name: string, value: unknown][];
  verdict: SampleVerdict;
  media: Media[];
  /** Media that are not listed. */
  mediaMore: number;
  /** Characters of the answer. */
  length: number;
  /** Tokens of the answer, where they are counted. */
  tokens: number | undefined;
  /** When it was answered, where that is known. */
  time: string | undefined;
}

const SUMMARY = 140;
// The flag that says most comes first.
const VERDICTS = ["failed", "empty", "wrong", "right"] as const;
const TEXTS = new Set([
  "doc_id",
  "document",
  "input",
  "prompt",
  "target",
  "filtered_resps",
  "resps",
  "answer",
  "arguments",
  "omitted",
]);
// Of every sample the same, or for programs.
const SKIPPED = new Set(["doc_hash", "prompt_hash", "target_hash", "scored"]);
// Of a live answer, what has its own place on the page.
const LIVE_SKIPPED = new Set(["media", "media_more", "tokens", "time"]);

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The texts of an answer: one, or several tries, each in a paragraph. */
export function joinTexts(value: unknown): string {
  if (!Array.isArray(value)) return toText(value);
  return value.map(joinTexts).join("\n\n");
}

function readPrompt(sample: Json): string {
  const direct = sample.prompt ?? sample.input;
  return direct === undefined ? toText(sample.arguments) : joinTexts(direct);
}

/** The numbers of a sample: its metrics, as lmms-eval writes them beside the texts. */
function listMetrics(sample: Json): [string, number][] {
  return Object.entries(sample).flatMap(([name, value]): [string, number][] => {
    if (TEXTS.has(name) || SKIPPED.has(name) || name === "attempt") return [];
    if (typeof value === "number") return [[name, value]];
    const score = isObject(value) ? value.score : undefined;
    return typeof score === "number" ? [[name, score]] : [];
  });
}

export function readSample(value: unknown, place: number): ShownSample {
  const sample = isObject(value) ? value : { answer: value };
  const live = sample.scored === false;
  const id = sample.doc_id ?? sample.document;
  const answer = joinTexts(live ? sample.answer : (sample.filtered_resps ?? sample.resps ?? sample.answer));
  const raw = joinTexts(sample.resps);
  const metrics = live ? [] : listMetrics(sample);
  const named = new Set(metrics.map(([name]) => name));
  return {
    omitted: typeof sample.omitted === "string" ? sample.omitted : "",
    key: typeof id === "number" || (typeof id === "string" && id) ? String(id) : `#${place + 1}`,
    prompt: readPrompt(sample),
    target: joinTexts(sample.target),
    answer,
    raw: raw === answer ? "" : raw,
    metrics,
    rest: Object.entries(sample).filter(
      ([name, one]) =>
        !TEXTS.has(name) &&
        !SKIPPED.has(name) &&
        !(live && LIVE_SKIPPED.has(name)) &&
        !named.has(name) &&
        one !== null &&
        one !== "",
    ),
    verdict: judge(answer, live ? [] : metrics),
    // What lmms-eval's file calls media is none of ours: those are on the sample's card.
    media: live ? readMedia(sample.media) : [],
    mediaMore: live ? readCount(sample.media_more) : 0,
    length: answer.length,
    tokens: live ? readTokens(sample.tokens) : undefined,
    time: live && typeof sample.time === "string" ? sample.time : undefined,
  };
}

const readCount = (value: unknown) => (typeof value === "number" && value > 0 ? Math.floor(value) : 0);

function readTokens(value: unknown): number | undefined {
  const output = isObject(value) ? value.output : undefined;
  return typeof output === "number" ? output : undefined;
}

/** A sample that is indexed, with what its card says of it. */
export function readDetail({ card, sample }: SampleDetail): ShownSample {
  return {
    ...readSample(sample, card.row),
    verdict: readCard(card).verdict,
    media: readMedia(card.media),
    mediaMore: readCount(card.media_more),
    length: card.length ?? 0,
    tokens: card.tokens ?? undefined,
  };
}

/** As far as a sample tells by itself: the metrics of most tasks are 1 for right and 0 for wrong. */
function judge(answer: string, metrics: [string, number][]): SampleVerdict {
  if (!answer.trim()) return "empty";
  if (!metrics.length || !metrics.every(([, value]) => value === 0 || value === 1)) return null;
  return metrics.every(([, value]) => value === 1) ? "right" : "wrong";
}

/** The sample in one line of a list. */
export function summarise({ key, verdict, prompt, answer, media }: ShownSample, row: number): SampleRow {
  const summary = oneLine(answer.trim() || prompt, SUMMARY);
  return { key, of: undefined, row, verdict, summary, media: media[0] };
}

/** The card of a sample in one line of a list. */
export function readCard(card: SampleCard): SampleRow {
  const { doc_id: id, row, prompt, answer, flags } = card;
  return {
    key: id === null || id === undefined || id === "" ? `#${row + 1}` : String(id),
    of: card.filter ?? undefined,
    row,
    verdict: VERDICTS.find((one) => flags?.includes(one)) ?? null,
    summary: oneLine(answer?.trim() || prompt || "", SUMMARY),
    media: readMedia(card.media)[0],
  };
}
