// Above the list: how many samples each filter finds, a search, and an order. The address holds them.

import { Link } from "@tanstack/react-router";
import { type FormEvent, useEffect, useRef, useState } from "react";
import type { SampleCardPage } from "@/api/client";
import { EXACT, leaveSample, SAMPLE_FILTERS, type SampleFilter, type SampleView } from "@/lib/search";
import { useKeys } from "@/ui/keys";
import { LayoutSwitch } from "./layout_switch";

interface Props {
  id: string;
  task: string;
  view: SampleView;
  page: SampleCardPage;
  onView: (view: SampleView) => void;
}

export function SampleTools({ id, task, view, page, onView }: Props) {
  const rest = leaveSample(view);
  const count = (one: SampleFilter | undefined) => (one === undefined ? page.total : page.counts[one]);
  return (
    <div className="sample-tools">
      <nav aria-label="Which samples" className="tabs">
        {[undefined, ...SAMPLE_FILTERS].map((one) => {
          const found = count(one);
          // Null where the task names no limit: nothing tells whether an answer was cut.
          if (found === null || found === undefined) return null;
          const { filter: _, ...others } = rest;
          return (
            <Link
              key={one ?? "all"}
              to="/runs/$id/samples/$task"
              params={{ id, task }}
              search={one ? { ...others, filter: one } : others}
              className={one === view.filter ? "chosen" : ""}
              activeOptions={EXACT}
              aria-current={one === view.filter ? "page" : undefined}
            >
              {one ?? "all"} <span className="count">{found.toLocaleString("en")}</span>
            </Link>
          );
        })}
      </nav>
      {(page.counts.unjudged ?? 0) > 0 && (
        <span className="quiet">{page.counts.unjudged?.toLocaleString("en")} without a number</span>
      )}
      <LayoutSwitch id={id} task={task} view={view} />
      <Search view={rest} onView={onView} />
      <Order view={rest} metrics={page.metrics} onView={onView} />
    </div>
  );
}

function Search({ view, onView }: Pick<Props, "view" | "onView">) {
  const [text, setText] = useState(view.q ?? "");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => setText(view.q ?? ""), [view.q]);
  useKeys([{ keys: "/", does: "Search the samples", run: () => field.current?.focus() }]);
  const apply = (event?: FormEvent) => {
    event?.preventDefault();
    const { q, sort: _, ...others } = view;
    const wanted = text.trim() || undefined;
    if (wanted !== q) onView(wanted === undefined ? others : { ...others, q: wanted });
  };
  return (
    <form onSubmit={apply} aria-label="Search">
      <input
        ref={field}
        type="search"
        aria-label="Text in prompt, target or answer"
        placeholder="Search"
        value={text}
        maxLength={200}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setText(event.target.value)}
        onBlur={() => apply()}
      />
    </form>
  );
}

/** Each column both ways, as `sort` of the address names it. */
export function listOrders(metrics: readonly string[]): [sort: string, title: string][] {
  return [...metrics, "tokens", "length"].flatMap((name): [string, string][] => [
    [name, `${name}, smallest first`],
    [`-${name}`, `${name}, largest first`],
  ]);
}

function Order({ view, metrics, onView }: Pick<Props, "view" | "onView"> & { metrics: string[] }) {
  return (
    <select
      aria-label="Order"
      value={view.sort ?? ""}
      onChange={(event) => {
        const { sort: _, q: __, ...others } = view;
        onView(event.target.value ? { ...others, sort: event.target.value } : others);
      }}
    >
      <option value="">in the order of the task</option>
      {listOrders(metrics).map(([sort, title]) => (
        <option key={sort} value={sort}>
          {title}
        </option>
      ))}
    </select>
  );
}
