// Numbers and times as people read them. Pure; "now" is passed in.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Of a normal distribution, 95 % lie within so many standard errors. */
const Z95 = 1.96;

/** A score with four significant digits. */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "n/a";
  return String(Number(value.toPrecision(4)));
}

/** Half of the 95 % interval; null without a standard error. */
export function halfWidth(stderr: number | null | undefined): number | null {
  return typeof stderr === "number" && Number.isFinite(stderr) ? Z95 * stderr : null;
}

/** A duration in at most two units: 45 s, 3 min 5 s, 2 h 10 min. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return joinUnits(Math.floor(whole / MINUTE), "min", whole % MINUTE, "s");
  if (whole < DAY) return joinUnits(Math.floor(whole / HOUR), "h", Math.floor((whole % HOUR) / MINUTE), "min");
  return joinUnits(Math.floor(whole / DAY), "d", Math.floor((whole % DAY) / HOUR), "h");
}

function joinUnits(large: number, unit: string, small: number, smaller: string): string {
  return small ? `${large} ${unit} ${small} ${smaller}` : `${large} ${unit}`;
}

/** How long ago, in one unit. */
export function formatAge(time: string | null | undefined, now: number): string {
  const at = time ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(at)) return "";
  const seconds = Math.max(0, (now - at) / 1000);
  if (seconds < MINUTE) return "just now";
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  return `${Math.floor(seconds / DAY)} d ago`;
}

/** Seconds between two times; null where one is missing. */
export function secondsBetween(
  start: string | null | undefined,
  end: string | number | null | undefined,
): number | null {
  if (!start || end === null || end === undefined) return null;
  const seconds = ((typeof end === "number" ? end : Date.parse(end)) - Date.parse(start)) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}

/** Bytes with a binary unit. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

/** A word of the API as people write it: OutOfMemory is "out of memory"; GPUError "GPU error". */
export function spellReason(reason: string | null | undefined): string {
  if (!reason) return "";
  return reason
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replace(/([A-Z]+)([A-Z][a-z])/g, "$1 $2")
    .split(" ")
    .map((word) => (/^[A-Z]{2,}$/.test(word) ? word : word.toLowerCase()))
    .join(" ");
}
