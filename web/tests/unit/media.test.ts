import { expect, test } from "vitest";
import { fitInto, mediaPath, nameMedia, readMedia, tellOmitted } from "@/lib/media";

const digest = "ab".repeat(32);
const read = (item: object) => {
  const [media] = readMedia([item]);
  if (!media) throw new Error("nothing was read");
  return media;
};

test("digests are digests, and all else is left out", () => {
  const media = read({
    kind: "image",
    thumb: digest,
    display: "https://elsewhere.invalid/x",
    original: `${digest}/../x`,
    width: 640,
    height: -1,
    seconds: "7",
    url: "https://elsewhere.invalid/y",
  });
  expect(media).toMatchObject({
    thumb: digest,
    display: undefined,
    original: undefined,
    width: 640,
    height: undefined,
  });
  expect(media.seconds).toBeUndefined();
  expect(readMedia([{ kind: "script", display: digest }, null, 7, "x"])).toEqual([]);
  for (const odd of [undefined, null, {}, "x", 7]) expect(readMedia(odd)).toEqual([]);
  expect(readMedia(Array.from({ length: 99 }, () => ({ kind: "image" })))).toHaveLength(16);
});

test("an address is made of a job and a digest", () => {
  expect(mediaPath("a/b", digest)).toBe(`/jobs/a%2Fb/media/${digest}`);
});

test("what it is, in words that are true", () => {
  expect(nameMedia(read({ kind: "image", width: 640, height: 480 }), 0, 2)).toBe("Image 1 of 2, 640 × 480 pixels");
  expect(nameMedia(read({ kind: "audio", seconds: 12.345, width: 5, height: 5 }), 0, 1)).toBe("Audio, 12.3 s");
});

test("why something is missing", () => {
  expect(tellOmitted(read({ kind: "image", display: digest }))).toBe("");
  expect(tellOmitted(read({ kind: "image" }))).toBe("This image was not kept.");
  expect(tellOmitted(read({ kind: "audio", omitted: "TooLarge" }))).toBe(
    "This audio was not kept: it is larger than what a run keeps.",
  );
  expect(tellOmitted(read({ kind: "image", thumb: digest, omitted: "Behind" }))).toContain("Only a small picture");
  expect(tellOmitted(read({ kind: "video", display: digest, omitted: "odd" }))).toBe(
    "Only this was kept: it was left out.",
  );
});

test("its place is reserved in its proportions", () => {
  const most = { width: 640, height: 400 };
  expect(fitInto(read({ kind: "image", width: 6400, height: 400 }), most)).toEqual({ width: 640, height: 40 });
  expect(fitInto(read({ kind: "image", width: 100, height: 50 }), most)).toEqual({ width: 100, height: 50 });
  expect(fitInto(read({ kind: "image", width: 1, height: 1_000_000 }), most)).toEqual({ width: 1, height: 400 });
  expect(fitInto(read({ kind: "image" }), most)).toEqual(most);
});
