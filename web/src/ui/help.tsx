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
              {key.keys.split(" ").map((part, index) => (
                <kbd key={index}>{part === "Escape" ? "Esc" : part}</kbd>
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
