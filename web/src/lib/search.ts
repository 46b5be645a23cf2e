// Search parameters of addresses: what a link holds is checked before it is believed.

import type { JobStatus } from "@/api/client";
import { type CompareSearch, FLIPS, type Flip } from "@/lib/compare";
import type { JobFilter } from "@/lib/job_pages";

export const STATUSES: readonly JobStatus[] = ["running", "queued", "completed", "failed", "cancelled"];
/** Filters of samples that are indexed; without an index there are the first two. */
export const SAMPLE_FILTERS = ["wrong", "empty", "right", "failed", "truncated"] as const;
export type SampleFilter = (typeof SAMPLE_FILTERS)[number];
export const PAGED_FILTERS = ["wrong", "empty"] as const satisfies readonly SampleFilter[];
export type PagedFilter = (typeof PAGED_FILTERS)[number];

/** Which samples of a task are listed, and in which order. */
export interface SampleView {
  filter?: SampleFilter | undefined;
  q?: string | undefined;
  /** A metric, tokens or length; with - before it, largest first. */
  sort?: string | undefined;
  /** Whether it is a list, which is not named, or a grid. */
  view?: "grid" | undefined;
  /** Of which of lmms-eval's filters the sample that is shown is, where the task has several. */
  of?: string | undefined;
}

type Raw = Record<string, unknown>;

function readText(value: unknown): string | undefined {
  // The router parses what looks like JSON: a task that is called 7 is a text again.
  const text = typeof value === "number" ? String(value) : value;
  return typeof text === "string" && text ? text : undefined;
}

function readTexts(value: unknown): string[] | undefined {
  const found = (Array.isArray(value) ? value : [value]).flatMap((item) => readText(item) ?? []);
  return found.length ? found : undefined;
}

/** Without the keys that are undefined, so that addresses stay short. */
function compact<Kind extends object>(fields: Kind): Kind {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Kind;
}

export function readJobFilter(raw: Raw): JobFilter {
  const status = readTexts(raw.status)?.filter((one): one is JobStatus => STATUSES.includes(one as JobStatus));
  return compact<JobFilter>({
    status: status?.length ? status : undefined,
    model: readText(raw.model),
    task: readText(raw.task),
    label: readTexts(raw.label),
  });
}

/** The list of runs: its filter, and which of them are picked to be compared. */
export type RunsSearch = JobFilter & { pick?: string | undefined };

export function readRunsSearch(raw: Raw): RunsSearch {
  return compact<RunsSearch>({ ...readJobFilter(raw), pick: readText(raw.pick) });
}

/** The same runs picked, under another filter. */
export function keepPicks(filter: JobFilter, pick: string | undefined): RunsSearch {
  return compact<RunsSearch>({ ...filter, pick });
}

export function readCompareSearch(raw: Raw): CompareSearch {
  return compact<CompareSearch>({ runs: readText(raw.runs), base: readText(raw.base) });
}

/** The samples of a task that changed between two of the runs. */
export interface FlipSearch extends CompareSearch {
  /** Which run is compared with the baseline; without it, the first of the others. */
  against?: string | undefined;
  flip?: Flip | undefined;
  metric?: string | undefined;
  /** Of which of lmms-eval's filters the values are. */
  of?: string | undefined;
}

export function readFlipSearch(raw: Raw): FlipSearch {
  return compact<FlipSearch>({
    ...readCompareSearch(raw),
    against: readText(raw.against),
    flip: FLIPS.find((one) => one === raw.flip),
    metric: readText(raw.metric),
    of: readText(raw.of),
  });
}

export const RUN_TABS = ["overview", "log", "config", "files"] as const;
export type RunTab = (typeof RUN_TABS)[number];

export function readRunSearch(raw: Raw): { tab?: RunTab | undefined; attempt?: number | undefined } {
  const tab = RUN_TABS.find((one) => one === raw.tab && one !== "overview");
  const attempt = Number.isInteger(raw.attempt) && Number(raw.attempt) > 0 ? Number(raw.attempt) : undefined;
  return compact({ tab, attempt });
}

export function readSampleSearch(raw: Raw): SampleView {
  const q = readText(raw.q);
  return compact<SampleView>({
    filter: SAMPLE_FILTERS.find((one) => one === raw.filter),
    q,
    // The front end searches in the order of the file alone.
    sort: q === undefined ? readText(raw.sort) : undefined,
    view: raw.view === "grid" ? "grid" : undefined,
    of: readText(raw.of),
  });
}

/** The same list, without the sample that is shown of it. */
export function leaveSample({ filter, q, sort, view }: SampleView): SampleView {
  return compact<SampleView>({ filter, q, sort, view });
}

/** Other samples, shown in the same way. */
export function showOthers({ view }: SampleView, others: SampleView): SampleView {
  return compact<SampleView>({ ...others, view });
}

export function readSubmitSearch(raw: Raw): { from?: string | undefined } {
  return compact({ from: readText(raw.from) });
}

/** Of links that are views of one page: the router takes a link with fewer parameters for the present one as well. */
export const EXACT = { exact: true } as const;
