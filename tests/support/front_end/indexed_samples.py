"""A samples file and its index, as the reporter stores them."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lmms_eval_core.sample_scoring import SampledTask
from lmms_eval_reporter.content import Count, checked, compressed
from lmms_eval_reporter.index_upload import iterate_index


class IndexedSamples(NamedTuple):
    """What is stored of a task."""

    samples: bytes
    index: bytes


def index_samples(lines: Iterable[Any], task: SampledTask, *, piece: int = 1000) -> IndexedSamples:
    """Return the files for samples, in pieces of so many lines; text is a line as it is."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    pieces = [
        "".join(line + "\n" for line in texts[start : start + piece]).encode() for start in range(0, len(texts), piece)
    ]
    return index_pieces(pieces, task)


def index_pieces(pieces: Sequence[bytes], task: SampledTask) -> IndexedSamples:
    """Return the files for pieces of whole lines."""
    content = Count()
    samples = b"".join(compressed(checked(pieces, content), content.frames))
    return IndexedSamples(samples, b"".join(iterate_index(pieces, content, task)))
