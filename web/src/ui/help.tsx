// The keys that work on this page.

import { Dialog } from "./dialog";
import { useActiveKeys, useKeysEnabled } from "./keys";

export function Help({ onClose }: { onClose: () => void }) {
  const keys = useActiveKeys();
  const [enabled, setEnabled] = useKeysEnabled();
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl className="keys">
        {keys.map((key) => (
          <div key={key.keys}>
            <dt>
              {listKeys(key.keys).map((part, index) => (
                <kbd key={index}>{part}</kbd>
              ))}
            </dt>
            <dd>{key.does}</dd>
          </div>
        ))}
      </dl>
      <label className="check">
        <input type="checkbox" checked={enabled} onChange={(event) => setEnabled(event.target.checked)} />
        Single letters are keys
      </label>
      <div className="buttons">
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

/** The names of keys as they stand on them. */
function listKeys(keys: string): string[] {
  return keys === " " ? ["Space"] : keys.split(" ").map((part) => (part === "Escape" ? "Esc" : part));
}
