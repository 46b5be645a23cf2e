// The form of a submission, with the cluster's refusals at their fields.

import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useMemo, useRef, useState } from "react";
import { modelsQuery } from "@/api/catalogue";
import { useRights } from "@/api/me";
import { ApiProblem, describeError } from "@/api/problems";
import { submitRequest } from "@/api/submit";
import { toCommand } from "@/lib/command";
import { type Draft, readDraft, SWITCHES, TEXT_FIELDS, type TextField } from "@/lib/draft";
import { groupByField } from "@/lib/field_problems";
import { announce } from "@/ui/announce";
import { CommandLine } from "@/ui/command_line";
import { ErrorNotice } from "@/ui/states";
import { Check } from "./check";
import { Field } from "./field";
import { TaskPicker } from "./task_picker";
import { useCheck } from "./use_check";

export function SubmitForm({ initial }: { initial: Draft }) {
  const [draft, setDraft] = useState(initial);
  const [failure, setFailure] = useState<unknown>(null);
  const [sending, setSending] = useState(false);
  const key = useRef<string | null>(null);
  const navigate = useNavigate();
  const may = useRights().submit;
  const read = useMemo(() => readDraft(draft), [draft]);
  const check = useCheck(read);
  const refused = failure ?? (check.isCurrent ? check.error : null);
  const { fields, rest } = groupByField(refused instanceof ApiProblem ? refused.fields : [], FIELD_NAMES);
  const problems: Record<string, string | undefined> = { ...fields, ...read.problems };
  const change = (part: Partial<Draft>) => {
    setDraft({ ...draft, ...part });
    setFailure(null);
    key.current = null;
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    // The same request sent twice, as after a lost answer, is one job.
    key.current ??= makeKey();
    try {
      const { job_id: id, message } = await submitRequest(read.request, { key: key.current });
      announce(message);
      await navigate({ to: "/runs/$id", params: { id } });
    } catch (error) {
      setFailure(error);
      announce(describeError(error));
    } finally {
      setSending(false);
    }
  };

  const text = (field: TextField) => (
    <Text
      key={field.name}
      field={field}
      value={draft.texts[field.name] ?? ""}
      problem={problems[field.name]}
      onChange={(value) => change({ texts: { ...draft.texts, [field.name]: value } })}
    />
  );
  return (
    <form className="submit" onSubmit={(event) => void submit(event)} noValidate>
      <div className="fields">
        <ModelField value={draft.model} problem={problems.model} onChange={(model) => change({ model })} />
        <Field label="Arguments of the model" problem={problems.model_args}>
          {(attributes) => (
            <input
              {...attributes}
              value={draft.model_args}
              placeholder="pretrained=Qwen/Qwen2.5-VL-7B-Instruct"
              spellCheck={false}
              autoComplete="off"
              onChange={(event) => change({ model_args: event.target.value })}
            />
          )}
        </Field>
        <TaskPicker tasks={draft.tasks} problem={problems.tasks} onChange={(tasks) => change({ tasks })} />
        <div className="columns">{TEXT_FIELDS.filter(({ more }) => !more).map(text)}</div>
        <details>
          <summary>More options</summary>
          <div className="columns">{TEXT_FIELDS.filter(({ more }) => more).map(text)}</div>
        </details>
        <fieldset className="switches">
          <legend>Switches</legend>
          {SWITCHES.map(({ name, label }) => (
            <label key={name} className="check">
              <input
                type="checkbox"
                checked={draft.switches[name] ?? false}
                onChange={(event) => change({ switches: { ...draft.switches, [name]: event.target.checked } })}
              />
              {label}
            </label>
          ))}
        </fieldset>
      </div>
      <aside aria-label="Check and command" className="side">
        <h2>The same as a command</h2>
        <CommandLine command={toCommand(read.request)} />
        <Check check={check} rest={rest} />
        {failure !== null && !(failure instanceof ApiProblem && failure.fields.length) && (
          <ErrorNotice error={failure} />
        )}
        <button type="submit" className="primary" disabled={!may || sending || !check.isComplete}>
          {sending ? "Submitting …" : "Submit"}
        </button>
        {!may && <p className="quiet">You may look, and not submit: ask for the release's role to edit.</p>}
      </aside>
    </form>
  );
}

/** Random, also where the page came by plain HTTP and the browser has no randomUUID. */
function makeKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
}

const FIELD_NAMES = new Set(["model", "model_args", "tasks", ...TEXT_FIELDS.map(({ name }) => name)]);

interface TextProps {
  field: TextField;
  value: string;
  problem: string | undefined;
  onChange: (value: string) => void;
}

function Text({ field, value, problem, onChange }: TextProps) {
  return (
    <Field label={field.label} problem={problem}>
      {(attributes) => (
        <input
          {...attributes}
          value={value}
          placeholder={field.hint}
          inputMode={field.kind === "number" ? "decimal" : "text"}
          spellCheck={false}
          autoComplete="off"
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

interface ModelProps {
  value: string;
  problem: string | undefined;
  onChange: (model: string) => void;
}

function ModelField({ value, problem, onChange }: ModelProps) {
  const { data } = useQuery(modelsQuery);
  const known = data?.models.find((model) => model.name === value || model.aliases?.includes(value));
  const doubt =
    known && !known.available ? `The evaluator image cannot use it: ${known.reason ?? "unknown"}` : undefined;
  return (
    <Field label="Model" problem={problem} hint={doubt ?? data?.error ?? undefined}>
      {(attributes) => (
        <>
          <input
            {...attributes}
            list="models"
            value={value}
            placeholder="qwen2_5_vl"
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => onChange(event.target.value)}
          />
          <datalist id="models">
            {data?.models
              .filter(({ available }) => available)
              .map(({ name }) => (
                <option key={name} value={name} />
              ))}
          </datalist>
        </>
      )}
    </Field>
  );
}
