// Refusals of the API by the field of the form at which they are shown.

import type { FieldError } from "@/api/problems";

export interface GroupedProblems {
  fields: Record<string, string>;
  /** Those of which the form has no field, with the field's name. */
  rest: string[];
}

export function groupByField(errors: readonly FieldError[], known: ReadonlySet<string>): GroupedProblems {
  const fields: Record<string, string> = {};
  const rest: string[] = [];
  for (const { pointer, detail } of errors) {
    const [name = "", ...inside] = pointer.replace(/^\//, "").split("/").map(unescapePointer);
    const sentence = inside.length ? `${inside.join(".")}: ${detail}` : detail;
    if (known.has(name)) fields[name] = fields[name] ? `${fields[name]} ${sentence}` : sentence;
    else rest.push(name ? `${[name, ...inside].join(".")}: ${detail}` : detail);
  }
  return { fields, rest };
}

const unescapePointer = (part: string) => part.replaceAll("~1", "/").replaceAll("~0", "~");
