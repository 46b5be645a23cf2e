// Media of a sample, as the API lists them. Only digests are taken from data: addresses are made of them alone.

export type MediaKind = "image" | "video" | "audio";

export interface Media {
  kind: MediaKind;
  thumb: string | undefined;
  /** What is shown or played; of a video, a picture of it. */
  display: string | undefined;
  original: string | undefined;
  /** Pixels of what the model got. */
  width: number | undefined;
  height: number | undefined;
  seconds: number | undefined;
  /** Why something of it was not kept. */
  omitted: string | undefined;
}

const KINDS: readonly MediaKind[] = ["image", "video", "audio"];
const DIGEST = /^[0-9a-f]{64}$/;
const MOST = 16;
const REASONS: Record<string, string> = {
  TooLarge: "it is larger than what a run keeps",
  Behind: "the run went on before it was stored",
  Budget: "the run had stored as many bytes of media as it may",
  Unreadable: "it could not be read",
  NotKept: "the run keeps none of this kind",
};

export function readMedia(value: unknown): Media[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MOST).flatMap((item: unknown) => {
    const raw = (typeof item === "object" && item !== null ? item : {}) as Record<string, unknown>;
    const kind = KINDS.find((one) => one === raw.kind);
    if (!kind) return [];
    const { thumb, display, original, width, height, seconds, omitted } = raw;
    return [
      {
        kind,
        thumb: readDigest(thumb),
        display: readDigest(display),
        original: readDigest(original),
        width: readSize(width),
        height: readSize(height),
        seconds: readSize(seconds),
        omitted: typeof omitted === "string" ? omitted : undefined,
      },
    ];
  });
}

const readDigest = (value: unknown) => (typeof value === "string" && DIGEST.test(value) ? value : undefined);
const readSize = (value: unknown) =>
  typeof value === "number" && Number.isFinite(value) && value > 0 ? value : undefined;

/** Path of a file of the pool, below the API. */
export function mediaPath(job: string, digest: string): string {
  return `/jobs/${encodeURIComponent(job)}/media/${digest}`;
}

/** What it is and how large, as "Image 1 of 2, 640 × 480 pixels": what it shows, nobody here knows. */
export function nameMedia(media: Media, place: number, total: number): string {
  const kind = media.kind.charAt(0).toUpperCase() + media.kind.slice(1);
  const number = total > 1 ? ` ${place + 1} of ${total}` : "";
  return `${kind}${number}${describeSize(media)}`;
}

function describeSize({ kind, width, height, seconds }: Media): string {
  const pixels = kind !== "audio" && width && height ? `, ${width} × ${height} pixels` : "";
  return `${pixels}${seconds ? `, ${Number(seconds.toPrecision(3))} s` : ""}`;
}

/** Why something of it is missing, as a sentence; "" where nothing is. */
export function tellOmitted({ kind, omitted, display, thumb, original }: Media): string {
  if (!omitted) return display || thumb || original ? "" : `This ${kind} was not kept.`;
  const because = REASONS[omitted] ?? "it was left out";
  if (display) return `Only this was kept: ${because}.`;
  return thumb ? `Only a small picture of it was kept: ${because}.` : `This ${kind} was not kept: ${because}.`;
}

/** The size in which it is shown, so that its place is there before it is: at most so large, in its proportions. */
export function fitInto({ width, height }: Media, most: { width: number; height: number }) {
  if (!width || !height) return most;
  const scale = Math.min(most.width / width, most.height / height, 1);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** Whether two runs got the same: what is kept of each is the same content, and nothing is left to doubt. */
export function haveSameMedia(some: Media[], others: Media[]): boolean {
  return some.length === others.length && some.every((one, place) => tellContent(one) === tellContent(others[place]));
}

const tellContent = (media: Media | undefined) =>
  media && [media.kind, media.original ?? media.display ?? media.thumb ?? "", media.width, media.height].join(" ");
