// Filters of the list; the address holds them.

import { type FormEvent, useEffect, useState } from "react";
import type { JobStatus } from "@/api/client";
import type { JobFilter } from "@/lib/job_pages";
import { STATUSES } from "@/lib/search";

interface Props {
  filter: JobFilter;
  onChange: (filter: JobFilter) => void;
}

export function Filters({ filter, onChange }: Props) {
  const [draft, setDraft] = useState(() => toDraft(filter));
  useEffect(() => setDraft(toDraft(filter)), [filter]);
  const apply = (event?: FormEvent) => {
    event?.preventDefault();
    onChange({ status: filter.status, ...readDraft(draft) });
  };
  const field = (name: keyof Draft, label: string, hint: string) => (
    <label>
      <span>{label}</span>
      <input
        id={`filter-${name}`}
        type="search"
        value={draft[name]}
        placeholder={hint}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setDraft({ ...draft, [name]: event.target.value })}
        onBlur={() => apply()}
      />
    </label>
  );
  const isFiltered = Object.keys(filter).some((key) => filter[key as keyof JobFilter]?.length);
  return (
    <form className="filters" onSubmit={apply} aria-label="Filters">
      <fieldset>
        <legend className="hidden">States</legend>
        {STATUSES.map((status) => (
          <label key={status} className="chip">
            <input
              type="checkbox"
              checked={filter.status?.includes(status) ?? false}
              onChange={() => onChange({ ...filter, status: toggle(filter.status, status) })}
            />
            {status}
          </label>
        ))}
      </fieldset>
      {field("task", "Task", "mmmu_val")}
      {field("model", "Model", "qwen2_5_vl")}
      {field("label", "Label", "run=7")}
      <button type="submit" className="hidden">
        Apply
      </button>
      {isFiltered && (
        <button type="button" className="quiet" onClick={() => onChange({})}>
          Clear
        </button>
      )}
    </form>
  );
}

interface Draft {
  task: string;
  model: string;
  label: string;
}

function toDraft({ task, model, label }: JobFilter): Draft {
  return { task: task ?? "", model: model ?? "", label: (label ?? []).join(" ") };
}

function readDraft({ task, model, label }: Draft): JobFilter {
  const labels = label.split(/[\s,]+/).filter(Boolean);
  return {
    task: task.trim() || undefined,
    model: model.trim() || undefined,
    label: labels.length ? labels : undefined,
  };
}

function toggle(statuses: JobStatus[] | undefined, status: JobStatus): JobStatus[] | undefined {
  const rest = (statuses ?? []).filter((one) => one !== status);
  if (!statuses?.includes(status)) rest.push(status);
  return rest.length ? rest : undefined;
}
