"""A samples file and its index, as the reporter stores them."""

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lmms_eval_core.sample_index.format import BLOCK_ROWS, COLUMNS, decode_header, encode_header, pack
from lmms_eval_core.sample_index.reader import read_numbers
from lmms_eval_core.sample_scoring import SampledTask
from lmms_eval_reporter.content import Count, checked, compressed
from lmms_eval_reporter.index_upload import iterate_index


@dataclass(frozen=True)
class IndexedSamples:
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


def repeat_zone(index: bytes, times: int) -> bytes:
    """Return an index that has the only zone of `index`, which is full, so often: a million rows in a moment."""
    header = decode_header(index, len(index))
    (zone,) = header.zones
    length = zone.start + sum(zone.sizes)
    body, zones = index[:length], []
    parts: list[bytes] = []
    place = list(COLUMNS).index("blocks")
    at = zone.start + sum(zone.sizes[:place])
    for _ in range(times):
        start = sum(map(len, parts))
        blocks = read_numbers(body[at : at + zone.sizes[place]], "Q", zone.rows // BLOCK_ROWS + 1)
        moved = pack(array("Q", (offset + start for offset in blocks)).tobytes())
        sizes = [*zone.sizes[:place], len(moved), *zone.sizes[place + 1 :]]
        parts.append(body[:at] + moved + body[at + zone.sizes[place] :])
        zones.append(zone.model_copy(update={"start": start + zone.start, "sizes": sizes}))
    repeated = header.model_copy(update={"zones": zones, "rows": times * zone.rows})
    return b"".join(parts) + encode_header(repeated)
