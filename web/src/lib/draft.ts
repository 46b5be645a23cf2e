// The form of a submission: texts as they are typed, and the request that they make.

import { parsePairs, parseScalar, writePairs } from "./pairs";

type Json = Record<string, unknown>;

export interface Draft {
  model: string;
  model_args: string;
  tasks: string[];
  texts: Record<string, string>;
  switches: Record<string, boolean>;
  /** What the form has no field for, from the run that is repeated. */
  kept: Json;
}

export interface TextField {
  name: string;
  label: string;
  hint: string;
  kind: "number" | "scalar" | "text" | "pairs";
  more?: boolean;
}

export const TEXT_FIELDS: readonly TextField[] = [
  { name: "limit", label: "Limit", hint: "documents per task, or a fraction below 1", kind: "number" },
  { name: "num_fewshot", label: "Few-shot examples", hint: "the task's own", kind: "number" },
  { name: "batch_size", label: "Batch size", hint: "1, auto or auto:N", kind: "scalar" },
  { name: "num_gpus", label: "GPUs", hint: "1; 0 runs on the CPU", kind: "number" },
  { name: "gen_kwargs", label: "Generation", hint: "temperature=0,top_p=1", kind: "text" },
  { name: "priority", label: "Priority", hint: "0; higher starts first", kind: "number" },
  { name: "name", label: "Name", hint: "made up if empty", kind: "text" },
  { name: "labels", label: "Labels", hint: "run=7,step=1000", kind: "pairs" },
  { name: "seed", label: "Seed", hint: "one, or up to four separated by commas", kind: "scalar", more: true },
  { name: "repeats", label: "Answers per document", hint: "1", kind: "number", more: true },
  { name: "max_tokens", label: "Most tokens", hint: "the task's own", kind: "number", more: true },
  { name: "system_instruction", label: "System prompt", hint: "none", kind: "text", more: true },
  { name: "retries", label: "Retries", hint: "2", kind: "number", more: true },
  { name: "timeout_seconds", label: "Timeout in seconds", hint: "none", kind: "number", more: true },
];

export const SWITCHES: readonly { name: string; label: string; initial: boolean }[] = [
  { name: "log_samples", label: "Keep every sample's answer", initial: true },
  { name: "hold", label: "On hold: start only after it is released", initial: false },
  { name: "apply_chat_template", label: "Apply the chat template", initial: false },
  { name: "predict_only", label: "Answers only, no scores", initial: false },
  { name: "trust_remote_code", label: "Trust code from the model's repository", initial: false },
];

const OWN = new Set(["model", "model_args", "tasks", ...[...TEXT_FIELDS, ...SWITCHES].map(({ name }) => name)]);

export function emptyDraft(): Draft {
  return {
    model: "",
    model_args: "",
    tasks: [],
    texts: {},
    switches: Object.fromEntries(SWITCHES.map(({ name, initial }) => [name, initial])),
    kept: {},
  };
}

/** The draft that repeats a request; its name stays its own. */
export function draftOf(request: Json): Draft {
  const draft = emptyDraft();
  for (const [name, value] of Object.entries(request)) {
    if (value === null || value === undefined || name === "name") continue;
    if (name === "model") draft.model = String(value);
    else if (name === "tasks") draft.tasks = Array.isArray(value) ? value.map(String) : [];
    else if (name === "model_args") draft.model_args = writePairs(value as Json);
    else if (name in draft.switches) draft.switches[name] = value === true;
    else if (!OWN.has(name)) draft.kept[name] = value;
    else draft.texts[name] = typeof value === "object" ? writeLabels(value as Json) : String(value);
  }
  return draft;
}

/** Labels are texts, whatever they look like. */
const writeLabels = (labels: Json) =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

export interface ReadDraft {
  request: { model: string; tasks: string[] } & Json;
  /** Sentences by field, of what cannot even be sent. */
  problems: Record<string, string>;
}

/** The request that a draft makes, without what is at its default. */
export function readDraft(draft: Draft): ReadDraft {
  const problems: Record<string, string> = {};
  const read = (name: string, parse: () => unknown): Json => {
    try {
      return { [name]: parse() };
    } catch (error) {
      problems[name] = error instanceof Error ? error.message : String(error);
      return {};
    }
  };
  const texts = TEXT_FIELDS.flatMap(({ name, kind }) => {
    const text = draft.texts[name]?.trim();
    return text ? [read(name, () => PARSERS[kind](text))] : [];
  });
  const switches = SWITCHES.filter(({ name, initial }) => draft.switches[name] !== initial);
  const args = draft.model_args.trim();
  const request = Object.assign(
    { model: draft.model.trim(), tasks: draft.tasks },
    draft.kept,
    args ? read("model_args", () => parsePairs(args)) : {},
    ...texts,
    Object.fromEntries(switches.map(({ name }) => [name, draft.switches[name]])),
  );
  return { request, problems };
}

const PARSERS: Record<TextField["kind"], (text: string) => unknown> = {
  text: (text) => text,
  scalar: (text) => (/^\d+$/.test(text) ? Number(text) : text),
  number: (text) => {
    const value = parseScalar(text);
    if (typeof value !== "number") throw new Error("Give a number.");
    return value;
  },
  pairs: (text) => Object.fromEntries(Object.entries(parsePairs(text)).map(([key, value]) => [key, String(value)])),
};
