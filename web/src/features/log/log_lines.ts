// The newest lines of a log that grows, in bounded memory.

import { cut, showControls } from "@/lib/text";

export const MAX_LINES = 20_000;
const MAX_LINE = 4_000;

export interface LogLines {
  lines: string[];
  /** How many lines were dropped at the beginning, so that numbers of lines stay. */
  dropped: number;
  /** The last line, while its end has not come. */
  open: string;
}

export const NO_LINES: LogLines = { lines: [], dropped: 0, open: "" };

/** The log with another piece of text at its end. */
export function appendText(log: LogLines, text: string): LogLines {
  const parts = `${log.open}${text}`.split("\n");
  const open = cut(parts.pop() ?? "", MAX_LINE);
  const lines = [...log.lines, ...parts.map(showLine)];
  const excess = Math.max(0, lines.length - MAX_LINES);
  return { lines: excess ? lines.slice(excess) : lines, dropped: log.dropped + excess, open };
}

/** The last line too, whose end never came. */
export function endText(log: LogLines): LogLines {
  return log.open ? appendText({ ...log }, "\n") : log;
}

function showLine(line: string): string {
  const short = cut(line.endsWith("\r") ? line.slice(0, -1) : line, MAX_LINE);
  return short.length < line.replace(/\r$/, "").length ? `${showControls(short)} …` : showControls(short);
}
