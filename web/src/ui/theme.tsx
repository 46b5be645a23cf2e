// Light, dark, or as the system has it.

import { useEffect, useState } from "react";
import { readSetting, writeSetting } from "@/lib/storage";

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];
const SIGNS: Record<Theme, string> = { system: "◐", light: "☀", dark: "☾" };

function read(): Theme {
  const stored = readSetting("theme");
  return THEMES.find((theme) => theme === stored) ?? "system";
}

function apply(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Before the first paint, so that nothing flashes. */
export function applyStoredTheme(): void {
  apply(read());
}

export function ThemeSwitch() {
  const [theme, setTheme] = useState(read);
  useEffect(() => {
    apply(theme);
    writeSetting("theme", theme);
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  return (
    <button
      type="button"
      className="icon"
      title={`Colours: ${theme}. Click for ${next}.`}
      aria-label={`Colours: ${theme}`}
      onClick={() => setTheme(next)}
    >
      <span aria-hidden="true">{SIGNS[theme]}</span>
    </button>
  );
}
