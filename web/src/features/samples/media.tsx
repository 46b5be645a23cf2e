// What the model got beside the prompt: images, a picture of a video, audio that plays. m enlarges, space plays.

import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { apiUrl } from "@/api/base";
import { tellMediaProblem } from "@/api/media";
import { fitInto, type Media, mediaPath, nameMedia, tellOmitted } from "@/lib/media";
import { useKeys } from "@/ui/keys";
import { Enlarged } from "./enlarged";

interface Props {
  job: string;
  sample: string;
  media: Media[];
  /** How many are not listed. */
  more: number;
}

const ALONE = { width: 640, height: 400 };
const AMONG_OTHERS = { width: 300, height: 240 };

export function SampleMedia({ job, sample, media, more }: Props) {
  const [enlarged, setEnlarged] = useState<number>();
  const box = useRef<HTMLElement>(null);
  const pictures = media.filter(findPicture);
  if (!media.length && !more) return null;
  return (
    <section className="media" ref={box} aria-label="Media">
      {media.map((one, place) => (
        <MediaFigure
          key={place}
          job={job}
          media={one}
          name={nameMedia(one, place, media.length + more)}
          most={media.length > 1 ? AMONG_OTHERS : ALONE}
          onEnlarge={() => setEnlarged(pictures.indexOf(one))}
        />
      ))}
      {more > 0 && <p className="quiet">{more.toLocaleString("en")} more are not listed.</p>}
      {pictures.length > 0 && <EnlargeKey onPress={() => setEnlarged(0)} />}
      {media.some(isPlayed) && <PlayKey onPress={() => playOrPause(box.current)} />}
      {enlarged !== undefined && (
        <Enlarged
          job={job}
          title={`Media of sample ${sample}`}
          pictures={pictures}
          names={pictures.map((one) => nameMedia(one, media.indexOf(one), media.length + more))}
          start={enlarged}
          onClose={() => setEnlarged(undefined)}
        />
      )}
    </section>
  );
}

/** The digest of the largest picture that there is of it. */
export function findPicture({ kind, display, thumb }: Media): string | undefined {
  return kind === "audio" ? undefined : (display ?? thumb);
}

const isPlayed = ({ kind, display, original }: Media) =>
  (kind === "video" && original !== undefined) || (kind === "audio" && (display ?? original) !== undefined);

/** Keys are listed where they do something. */
function EnlargeKey({ onPress }: { onPress: () => void }) {
  useKeys([{ keys: "m", does: "Enlarge the pictures", run: onPress }]);
  return null;
}

function PlayKey({ onPress }: { onPress: () => void }) {
  useKeys([{ keys: " ", does: "Play, or pause", run: onPress }]);
  return null;
}

function playOrPause(box: HTMLElement | null): void {
  const players = [...(box?.querySelectorAll<HTMLMediaElement>("audio, video") ?? [])];
  const player = players.find((one) => !one.paused) ?? players[0];
  if (player?.paused) void player.play().catch(() => undefined);
  else player?.pause();
}

interface FigureProps {
  job: string;
  media: Media;
  name: string;
  most: { width: number; height: number };
  onEnlarge: () => void;
}

function MediaFigure({ job, media, name, most, onEnlarge }: FigureProps) {
  const [problem, setProblem] = useState("");
  const queries = useQueryClient();
  const onError = (digest: string) => void queries.fetchQuery(tellMediaProblem(job, digest)).then(setProblem);
  return (
    <figure>
      {problem ? (
        <p className="empty">{problem}</p>
      ) : (
        <MediaElement {...{ job, media, name, most, onEnlarge, onError }} />
      )}
      <figcaption className="quiet">
        {name}. {tellOmitted(media)}
        {media.kind === "video" && !media.original && findPicture(media) && " A picture of it; the video is not kept."}
      </figcaption>
    </figure>
  );
}

function MediaElement({
  job,
  media,
  name,
  most,
  onEnlarge,
  onError,
}: FigureProps & { onError: (digest: string) => void }) {
  const url = (digest: string) => apiUrl(mediaPath(job, digest));
  const { kind, display, original } = media;
  const picture = findPicture(media);
  const size = fitInto(media, most);
  const sound = display ?? original;
  if (kind === "audio" && sound) {
    // biome-ignore lint/a11y/useMediaCaption: nobody has written down what is said.
    return <audio controls preload="none" src={url(sound)} aria-label={name} onError={() => onError(sound)} />;
  }
  if (kind === "video" && original) {
    return (
      <video
        controls
        preload="none"
        src={url(original)}
        poster={picture && url(picture)}
        {...size}
        aria-label={name}
        onError={() => onError(original)}
      />
    );
  }
  if (!picture) return null;
  return (
    <button type="button" className="enlarge" onClick={onEnlarge} title="m">
      <img
        src={url(picture)}
        {...size}
        loading="lazy"
        decoding="async"
        alt={`Enlarge ${name}`}
        onError={() => onError(picture)}
      />
    </button>
  );
}
