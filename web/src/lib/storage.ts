// Settings of this browser. Where it keeps none, the defaults hold.

export function readSetting(name: string): string | null {
  try {
    return localStorage.getItem(`lmms-eval.${name}`);
  } catch {
    return null;
  }
}

export function writeSetting(name: string, value: string): void {
  try {
    localStorage.setItem(`lmms-eval.${name}`, value);
  } catch {
    // A browser that keeps nothing still shows the page.
  }
}
