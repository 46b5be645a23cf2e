// What was asked for, and what it ran with.

import type { JobInfo } from "@/api/client";
import { toCommand } from "@/lib/command";
import { toText } from "@/lib/text";
import { CommandLine } from "@/ui/command_line";
import { LongText } from "@/ui/text";

export function Configuration({ job }: { job: JobInfo }) {
  const asked = Object.entries(job.request).filter(([, value]) => value !== null);
  const usage = Object.entries(job.usage ?? {});
  return (
    <>
      <section aria-labelledby="request">
        <h2 id="request">Request</h2>
        <Fields entries={asked} />
      </section>
      <section aria-labelledby="command">
        <h2 id="command">The same as a command</h2>
        <CommandLine command={toCommand(job.request)} />
      </section>
      {usage.length > 0 && (
        <section aria-labelledby="usage">
          <h2 id="usage">What it used</h2>
          <Fields entries={usage} />
        </section>
      )}
    </>
  );
}

/** Lists and maps of scalars as lines; what is deeper as JSON. */
function toLines(value: unknown): string {
  if (typeof value !== "object" || value === null) return toText(value);
  if (Object.values(value).some((one) => typeof one === "object" && one !== null)) return toText(value);
  if (Array.isArray(value)) return value.map(toText).join("\n");
  return Object.entries(value)
    .map(([key, one]) => `${key}: ${toText(one)}`)
    .join("\n");
}

function Fields({ entries }: { entries: [string, unknown][] }) {
  return (
    <table className="fields-table">
      <tbody>
        {entries.map(([name, value]) => (
          <tr key={name}>
            <th scope="row">
              <bdi>{name}</bdi>
            </th>
            <td>
              <LongText text={toLines(value)} label={name} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
