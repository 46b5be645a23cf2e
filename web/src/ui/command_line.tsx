import { showControls } from "@/lib/text";
import { announce } from "./announce";

/** A command to copy. */
export function CommandLine({ command }: { command: string }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(command);
      announce("The command is copied.");
    } catch {
      announce("The browser did not allow to copy; select the text instead.");
    }
  };
  return (
    <div className="command">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a box that scrolls has to be reachable by keyboard. */}
      <pre tabIndex={0}>
        <code>
          <bdi>{showControls(command)}</bdi>
        </code>
      </pre>
      <button type="button" onClick={() => void copy()}>
        Copy
      </button>
    </div>
  );
}
