/** Ways from one sample: back to the list, which a wide page shows beside it, and to its neighbours where there are any. */
export function Steps({
  back,
  previous,
  next,
}: {
  back: () => void;
  previous: (() => void) | undefined;
  next: (() => void) | undefined;
}) {
  return (
    <>
      <button type="button" className="narrow-only" onClick={back}>
        List
      </button>
      <button type="button" disabled={!previous} onClick={previous} title="k">
        Previous
      </button>
      <button type="button" disabled={!next} onClick={next} title="j">
        Next
      </button>
    </>
  );
}
