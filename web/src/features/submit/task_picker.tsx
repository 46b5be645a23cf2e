// Picks tasks: one types, the list narrows, arrows and Enter choose.

import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, useId, useState } from "react";
import { tasksQuery } from "@/api/catalogue";
import type { ListedTask } from "@/api/client";
import { Line } from "@/ui/text";
import { Field } from "./field";
import { useSettled } from "./use_check";

const SHOWN = 50;

interface Props {
  tasks: string[];
  problem: string | undefined;
  onChange: (tasks: string[]) => void;
}

export function TaskPicker({ tasks, problem, onChange }: Props) {
  const [text, setText] = useState("");
  const [active, setActive] = useState(-1);
  const [open, setOpen] = useState(false);
  const list = useId();
  const search = useSettled(text.trim(), text);
  const { data } = useQuery({ ...tasksQuery(search), enabled: open });
  const found = (data?.tasks ?? []).filter(({ name }) => !tasks.includes(name)).slice(0, SHOWN);
  const add = (name: string) => {
    if (name && !tasks.includes(name)) onChange([...tasks, name]);
    setText("");
    setActive(-1);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setActive(Math.min(active + 1, found.length - 1));
    else if (event.key === "ArrowUp") setActive(Math.max(active - 1, -1));
    else if (event.key === "Enter" && (found[active] || text.trim())) add(found[active]?.name ?? text.trim());
    else if (event.key === "Escape" && open) setOpen(false);
    else if (event.key === "Backspace" && !text) onChange(tasks.slice(0, -1));
    else return;
    event.preventDefault();
  };
  const shown = open && found.length > 0;
  return (
    <Field
      label="Tasks"
      problem={problem}
      hint={data?.error ?? "Tasks, groups or tags; Enter takes the one you typed."}
    >
      {(attributes) => (
        <div className="picker">
          {tasks.length > 0 && (
            <ul className="picked" aria-label="Chosen tasks">
              {tasks.map((name) => (
                <li key={name}>
                  <Line text={name} most={80} />
                  <button
                    type="button"
                    className="icon"
                    aria-label={`Remove ${name}`}
                    onClick={() => onChange(tasks.filter((one) => one !== name))}
                  >
                    ×
                  </button>
                </li>
              ))}
            </ul>
          )}
          <input
            {...attributes}
            role="combobox"
            aria-expanded={shown}
            aria-controls={list}
            aria-autocomplete="list"
            aria-activedescendant={shown && active >= 0 ? `${list}-${active}` : undefined}
            value={text}
            placeholder="mmmu_val"
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => {
              setText(event.target.value);
              setActive(-1);
              setOpen(true);
            }}
            onFocus={() => setOpen(true)}
            onBlur={() => setOpen(false)}
            onKeyDown={onKeyDown}
          />
          {/* The list exists always, as the input names it. */}
          <div id={list} role="listbox" aria-label="Tasks" className="options" hidden={!shown}>
            {found.map((task, index) => (
              <Option
                key={task.name}
                id={`${list}-${index}`}
                task={task}
                active={index === active}
                onPick={() => add(task.name)}
              />
            ))}
          </div>
        </div>
      )}
    </Field>
  );
}

function Option({ id, task, active, onPick }: { id: string; task: ListedTask; active: boolean; onPick: () => void }) {
  const details = [task.kind === "task" ? task.output_type : task.kind, ...(task.metrics ?? [])].filter(Boolean);
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the focus stays in the input, which names the active option.
    // biome-ignore lint/a11y/useKeyWithClickEvents: the input has the keys.
    <div
      id={id}
      role="option"
      aria-selected={active}
      // Before the input loses the focus, which closes the list.
      onMouseDown={(event) => event.preventDefault()}
      onClick={onPick}
      ref={(element) => {
        if (active) element?.scrollIntoView({ block: "nearest" });
      }}
    >
      <Line text={task.name} most={100} />
      <span className="quiet">
        <Line text={details.join(", ")} most={80} />
      </span>
    </div>
  );
}
