import type { ReactNode } from "react";
import { Line, LongText } from "@/ui/text";

interface Props {
  title: string;
  text: string;
  /** What stands there where there is no text. */
  none?: string;
  /** Stands in place of the text where there is one. */
  children?: ReactNode;
}

/** A text of a sample below its name. */
export function Part({ title, text, none = "empty", children }: Props) {
  return (
    <section className="part">
      <h3>
        <Line text={title} most={80} />
      </h3>
      {text.trim() ? (children ?? <LongText text={text} label={title} />) : <p className="empty">{none}</p>}
    </section>
  );
}
