// The `lmmeval submit` command that asks for the same as a request.

import { writePairs as joinPairs } from "./pairs";
import { quote } from "./shell";

type Json = Record<string, unknown>;

// Flags that are not called as their field.
const FLAGS: Record<string, string> = { num_gpus: "gpus", output_dir: "output_path" };
// In this order, as people type them; all others follow.
const FIRST = ["model", "model_args", "tasks"];
// What submitting fills in by itself, so that the command stays short.
const DEFAULTS: Json = { log_samples: true, predict_only: false, num_gpus: 1, priority: 0, hold: false };

/** The command, on several lines where it is long. */
export function toCommand(request: Json): string {
  const rest = Object.keys(request).filter((name) => !FIRST.includes(name));
  const flags = [...FIRST, ...rest].flatMap((name) => writeFlags(name, request[name]));
  return ["lmmeval submit", ...flags].join(flags.length > 3 ? " \\\n  " : " ");
}

function writeFlags(name: string, value: unknown): string[] {
  if (value === null || value === undefined || value === "" || value === DEFAULTS[name]) return [];
  const write = WRITERS[name];
  if (write) return write(value);
  const flag = FLAGS[name] ?? name;
  if (typeof value === "boolean") return [value ? `--${flag}` : `--no-${flag}`];
  return [`--${flag} ${quote(typeof value === "object" ? JSON.stringify(value) : String(value))}`];
}

type Writer = (value: unknown) => string[];

const asObject = (value: unknown): Json => (typeof value === "object" && value !== null ? (value as Json) : {});
const asList = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

const writePairs =
  (flag: string): Writer =>
  (value) =>
    Object.entries(asObject(value)).map(([key, one]) => `--${flag} ${quote(`${key}=${String(one)}`)}`);

const WRITERS: Record<string, Writer> = {
  tasks: (value) => (asList(value).length ? [`--tasks ${quote(asList(value).join(","))}`] : []),
  model_args: writeModelArgs,
  labels: writePairs("label"),
  node_selector: writePairs("node-selector"),
  resources: (value) => Object.entries(asObject(value)).map(([key, one]) => `--${key} ${quote(String(one))}`),
  env: (value) => asList(value).map(writeVariable),
  volumes: (value) => asList(value).map(writeVolume),
  tolerations: (value) => asList(value).map(writeToleration),
};

function writeModelArgs(value: unknown): string[] {
  const args = asObject(value);
  return Object.keys(args).length ? [`--model_args ${quote(joinPairs(args))}`] : [];
}

function writeVariable(item: unknown): string {
  const { name, value, secret_key_ref: reference } = asObject(item);
  const { name: secret, key } = asObject(reference);
  return reference ? `--env ${quote(`${name}=${secret}/${key}`)}` : `--env-value ${quote(`${name}=${value}`)}`;
}

function writeVolume(item: unknown): string {
  const { claim_name: claim, mount_path: path, read_only: readOnly } = asObject(item);
  return `--volume ${quote(`${claim}:${path}${readOnly === false ? ":rw" : ""}`)}`;
}

function writeToleration(item: unknown): string {
  const { key, value, effect } = asObject(item);
  return `--toleration ${quote(`${key ?? ""}${value ? `=${value}` : ""}${effect ? `:${effect}` : ""}`)}`;
}
