// The browser's own modal dialog: it holds the focus, and Escape closes it.

import { type ReactNode, useEffect, useId, useRef } from "react";
import { useDialogKeys } from "./keys";

interface Props {
  title: string;
  onClose: () => void;
  children: ReactNode;
  className?: string;
  /** What keys do while it is open, by KeyboardEvent.key. */
  keys?: [name: string, run: () => void][];
}

export function Dialog({ title, onClose, children, className, keys = [] }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useDialogKeys(keys);
  return (
    <dialog ref={dialog} aria-labelledby={id} className={className} onClose={onClose}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}

export function ConfirmDialog({
  title,
  action,
  onConfirm,
  onClose,
  children,
}: {
  title: string;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
  children?: ReactNode;
}) {
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <div className="buttons">
        <button type="button" onClick={onClose}>
          Keep it
        </button>
        <button
          type="button"
          className="danger"
          onClick={() => {
            onConfirm();
            onClose();
          }}
        >
          {action}
        </button>
      </div>
    </Dialog>
  );
}
