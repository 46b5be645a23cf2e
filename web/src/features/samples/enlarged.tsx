// One picture of a sample at a time, as large as the window; arrows go to the others.

import { useState } from "react";
import { apiUrl } from "@/api/base";
import { type Media, mediaPath } from "@/lib/media";
import { Dialog } from "@/ui/dialog";
import { findPicture } from "./media";

interface Props {
  job: string;
  title: string;
  pictures: Media[];
  names: string[];
  start: number;
  onClose: () => void;
}

export function Enlarged({ job, title, pictures, names, start, onClose }: Props) {
  const [at, setAt] = useState(start);
  const go = (by: number) => setAt((before) => Math.min(Math.max(before + by, 0), pictures.length - 1));
  const media = pictures[at];
  const digest = media && findPicture(media);
  if (!digest) return null;
  const keys: [string, () => void][] = [
    ["ArrowLeft", () => go(-1)],
    ["ArrowRight", () => go(1)],
    ["m", onClose],
  ];
  return (
    <Dialog title={title} className="enlarged" keys={keys} onClose={onClose}>
      <img key={digest} src={apiUrl(mediaPath(job, digest))} alt={names[at]} />
      <p className="quiet" aria-live="polite">
        {names[at]}
      </p>
      <div className="buttons">
        {media.kind === "image" && media.original && (
          <a href={apiUrl(mediaPath(job, media.original))} target="_blank" rel="noreferrer">
            The original
          </a>
        )}
        {pictures.length > 1 && (
          <>
            <button type="button" disabled={at === 0} onClick={() => go(-1)} title="←">
              Previous
            </button>
            <button type="button" disabled={at === pictures.length - 1} onClick={() => go(1)} title="→">
              Next
            </button>
          </>
        )}
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
