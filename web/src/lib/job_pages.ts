// Lists of jobs, page by page: what belongs into them, and what a change of a job changes in them. Pure.

import type { InfiniteData } from "@tanstack/react-query";
import type { JobList, JobStatus, JobSummary } from "@/api/client";

export type Section = "running" | "queued" | "ended";

export interface JobFilter {
  status?: JobStatus[] | undefined;
  model?: string | undefined;
  task?: string | undefined;
  label?: string[] | undefined;
}

export const SECTION_STATUSES: Record<Section, readonly JobStatus[]> = {
  running: ["running"],
  queued: ["queued"],
  ended: ["completed", "failed", "cancelled"],
};

export type JobPages = InfiniteData<JobList, string | null>;

/** The states that a section shows under a filter; none where the filter leaves the section out. */
export function sectionStatuses(section: Section, filter: JobFilter): JobStatus[] {
  const own = SECTION_STATUSES[section];
  return own.filter((status) => !filter.status?.length || filter.status.includes(status));
}

/** Whether a list with this section and filter holds the job, as GET /jobs decides it. */
export function isListed(job: JobSummary, section: Section, filter: JobFilter): boolean {
  if (!sectionStatuses(section, filter).includes(job.status)) return false;
  if (filter.model && job.model !== filter.model) return false;
  if (filter.task && !job.tasks.includes(filter.task)) return false;
  return (filter.label ?? []).every((wanted) => hasLabel(job, wanted));
}

function hasLabel(job: JobSummary, wanted: string): boolean {
  const [key = "", ...value] = wanted.split("=");
  const found = job.labels?.[key];
  return found !== undefined && (!value.length || found === value.join("="));
}

/** The pages with the job's newest state: replaced, taken out, or put where the newest come first. */
export function mergeJob(pages: JobPages, job: JobSummary, listed: boolean): JobPages {
  const known = pages.pages.some((page) => page.jobs.some((one) => one.job_id === job.job_id));
  if (known) {
    const change = (one: JobSummary) => (one.job_id !== job.job_id ? [one] : listed ? [job] : []);
    return { ...pages, pages: pages.pages.map((page) => ({ ...page, jobs: page.jobs.flatMap(change) })) };
  }
  return listed ? insertJob(pages, job) : pages;
}

function insertJob(pages: JobPages, job: JobSummary): JobPages {
  const at = pages.pages.findIndex((page) => !page.next_cursor || page.jobs.some((one) => isOlder(one, job)));
  const page = pages.pages[at];
  // Behind the last page that is loaded: it comes with that page.
  if (!page) return pages;
  const before = page.jobs.filter((one) => !isOlder(one, job));
  const jobs = [...before, job, ...page.jobs.slice(before.length)];
  return { ...pages, pages: pages.pages.map((one, index) => (index === at ? { ...page, jobs } : one)) };
}

const isOlder = (one: JobSummary, job: JobSummary) => one.created_at < job.created_at;

/** The pages without a job. */
export function removeJob(pages: JobPages, id: string): JobPages {
  return {
    ...pages,
    pages: pages.pages.map((page) => ({ ...page, jobs: page.jobs.filter((one) => one.job_id !== id) })),
  };
}

/** The pages with these positions in the queue; those of other jobs stay as they are. */
export function setPositions(pages: JobPages, positions: ReadonlyMap<string, number>): JobPages {
  const place = (job: JobSummary) => {
    const position = positions.get(job.job_id);
    return position === undefined || position === job.position_in_queue ? job : { ...job, position_in_queue: position };
  };
  return { ...pages, pages: pages.pages.map((page) => ({ ...page, jobs: page.jobs.map(place) })) };
}

/** All jobs of the pages. Those that are queued come in the order in which they start. */
export function listJobs(pages: { pages: JobList[] } | undefined): JobSummary[] {
  return (pages?.pages ?? []).flatMap((page) => page.jobs);
}

export function byPosition(one: JobSummary, other: JobSummary): number {
  const place = (job: JobSummary) => job.position_in_queue ?? Number.MAX_SAFE_INTEGER;
  return place(one) - place(other) || (one.created_at < other.created_at ? -1 : 1);
}
