import { type ReactNode, useId } from "react";

interface Props {
  label: string;
  /** What refuses it, if something does. */
  problem?: string | undefined;
  hint?: string | undefined;
  children: (attributes: { id: string; "aria-invalid": boolean; "aria-describedby": string | undefined }) => ReactNode;
}

/** A field with its label, and its refusal beneath it. */
export function Field({ label, problem, hint, children }: Props) {
  const id = useId();
  const told = problem || hint ? `${id}-told` : undefined;
  return (
    <div className={problem ? "field refused" : "field"}>
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-invalid": Boolean(problem), "aria-describedby": told })}
      {told && (
        <p id={told} className={problem ? "problem" : "quiet"}>
          <bdi>{problem ?? hint}</bdi>
        </p>
      )}
    </div>
  );
}
