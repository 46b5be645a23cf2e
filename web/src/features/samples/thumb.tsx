// The small picture that stands for a sample's media in lists: beside words that name the sample, so it has none itself.

import { useState } from "react";
import { apiUrl } from "@/api/base";
import { type Media, mediaPath } from "@/lib/media";

const SIGNS = { image: "▣", video: "▶", audio: "♪" } as const;

export function Thumb({ job, media, size }: { job: string; media: Media; size: number }) {
  const [lost, setLost] = useState<string>();
  const { thumb, kind } = media;
  if (!thumb || lost === thumb) {
    return (
      <span className="thumb none" aria-hidden="true">
        {SIGNS[kind]}
      </span>
    );
  }
  return (
    <img
      className="thumb"
      src={apiUrl(mediaPath(job, thumb))}
      width={size}
      height={size}
      loading="lazy"
      decoding="async"
      alt=""
      onError={() => setLost(thumb)}
    />
  );
}
