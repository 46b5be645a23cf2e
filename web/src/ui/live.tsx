import type { StreamState } from "@/api/stream";

const WORDS: Record<StreamState, string> = {
  connecting: "connecting …",
  live: "live",
  paused: "paused",
  ended: "",
};

/** Whether what is shown follows what happens. */
export function LiveState({ state }: { state: StreamState }) {
  return <span className={`stream ${state}`}>{WORDS[state]}</span>;
}
