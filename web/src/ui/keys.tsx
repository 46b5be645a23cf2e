// Keys of a page: each component names its own, and the help lists those that work right now.

import { useEffect, useRef, useSyncExternalStore } from "react";
import { readSetting, writeSetting } from "@/lib/storage";

export interface Key {
  /** As KeyboardEvent.key says it; "g r" is one after the other. */
  keys: string;
  does: string;
  run: () => void;
}

const active = new Set<Key[]>();
const listeners = new Set<() => void>();
let listed: readonly Key[] = [];
let enabled = readSetting("keys") !== "off";
const PREFIX_MS = 1000;

function update(): void {
  listed = [...active].flat();
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The keys that work right now. */
export function useActiveKeys(): readonly Key[] {
  return useSyncExternalStore(subscribe, () => listed);
}

export function useKeysEnabled(): [boolean, (on: boolean) => void] {
  const on = useSyncExternalStore(subscribe, () => enabled);
  const set = (next: boolean) => {
    enabled = next;
    writeSetting("keys", next ? "on" : "off");
    update();
  };
  return [on, set];
}

/** Have these keys work while the component is there. */
export function useKeys(keys: Key[]): void {
  const current = useRef(keys);
  current.current = keys;
  const names = keys.map((key) => key.keys).join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: `names` tells when the list differs; `current` has it.
  useEffect(() => {
    const own = current.current.map((key, index) => ({ ...key, run: () => current.current[index]?.run() }));
    active.add(own);
    update();
    return () => {
      active.delete(own);
      update();
    };
  }, [names]);
}

let prefix = "";
let prefixTimer: ReturnType<typeof setTimeout> | undefined;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.matches("input:not([type=checkbox]), textarea, select"))
  );
}

/** Space presses what has the focus, and scrolls a box: it is a key of the page only elsewhere. */
function isForFocus({ key, target }: KeyboardEvent): boolean {
  return key === " " && target instanceof Element && !target.matches("body, main");
}

/** Whether a key means what the page says it does. Single letters can be switched off (WCAG 2.1.4); Escape is none. */
function isKey(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return false;
  return !isTyping(event.target) && (enabled || event.key.length > 1);
}

function onKey(event: KeyboardEvent): void {
  if (!isKey(event) || isForFocus(event) || document.querySelector("dialog[open]")) return;
  const pressed = prefix ? `${prefix} ${event.key}` : event.key;
  clearTimeout(prefixTimer);
  prefix = "";
  const found = listed.findLast((key) => key.keys === pressed);
  if (found) {
    event.preventDefault();
    found.run();
  } else if (listed.some((key) => key.keys.startsWith(`${pressed} `))) {
    prefix = pressed;
    prefixTimer = setTimeout(() => {
      prefix = "";
    }, PREFIX_MS);
  }
}

export function listenToKeys(): void {
  document.addEventListener("keydown", onKey);
}

/** Have these keys work in a dialog, where those of the page do not. */
export function useDialogKeys(keys: [name: string, run: () => void][]): void {
  const current = useRef(keys);
  current.current = keys;
  useEffect(() => {
    const onDialogKey = (event: KeyboardEvent) => {
      const run = current.current.find(([name]) => name === event.key)?.[1];
      if (!run || !isKey(event)) return;
      event.preventDefault();
      run();
    };
    document.addEventListener("keydown", onDialogKey);
    return () => document.removeEventListener("keydown", onDialogKey);
  }, []);
}

/** Move the focus among the rows of a list: the elements with data-row. */
export function moveFocus(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
  rows[next]?.focus();
}

/** Copy the address of what is shown. */
export async function copyLink(): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(location.href);
    return true;
  } catch {
    return false;
  }
}
