// List or grid: two views of the same samples, each with its address.

import { Link } from "@tanstack/react-router";
import { EXACT, type SampleView } from "@/lib/search";

export function LayoutSwitch({ id, task, view }: { id: string; task: string; view: SampleView }) {
  const { view: layout, of: _, ...others } = view;
  return (
    <nav aria-label="Layout" className="tabs">
      {([undefined, "grid"] as const).map((one) => (
        <Link
          key={one ?? "list"}
          to="/runs/$id/samples/$task"
          params={{ id, task }}
          search={one ? { ...others, view: one } : others}
          className={one === layout ? "chosen" : ""}
          activeOptions={EXACT}
          aria-current={one === layout ? "page" : undefined}
        >
          {one ?? "list"}
        </Link>
      ))}
    </nav>
  );
}
