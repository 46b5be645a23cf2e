"""Makes an index of the lines of a samples file, one after the other, in memory that does not grow with them."""

import json
from array import array
from collections.abc import Callable
from itertools import chain, islice
from typing import Any, Final

from lmms_eval_core.json_text import parse_excess, parse_line
from lmms_eval_core.results_file import list_answer_texts
from lmms_eval_core.sample_index.format import (
    BLOCK_ROWS,
    CARD_TEXT,
    COLUMNS,
    FLAG_BITS,
    HASH_BYTES,
    MAX_FILTERS,
    MAX_METRICS,
    MAX_NAME,
    MAX_ROWS,
    METRIC_TYPE,
    UNKNOWN,
    ZONE_ROWS,
    IndexedMetric,
    IndexHeader,
    OmittedIndex,
    Zone,
    encode_header,
    hash_value,
    make_document_key,
    pack,
)
from lmms_eval_core.sample_scoring import (
    SampledTask,
    SampleFlag,
    count_tokens,
    find_raw_answer,
    is_failed,
    is_truncated,
    is_wrong,
    read_score,
)

# Of the documents whose lines are counted, one byte each, to know which filter a line is of.
MAX_COUNTED: Final = 16_000_000
# Parts of an answer that are looked at.
MAX_PARTS: Final = 10_000
_NAN: Final = float("nan")
_NO_HASH: Final = bytes(HASH_BYTES)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_CONTINUED: Final = "…"


class SampleIndexWriter:
    """Takes lines by `add`; what `take` and at the end `finish` return is the index. Raises OmittedIndex.

    `find_media` returns the place `CardField.MEDIA` of cards of the document with this key.
    """

    def __init__(self, task: SampledTask, find_media: Callable[[int], list[Any] | None] = lambda key: None) -> None:
        metrics = task.criteria.lower_is_better
        kept = [name for name in metrics if _clean_name(name) == name][:MAX_METRICS]
        self._task = task
        self._find_media = find_media
        self._metrics = kept
        self._header = IndexHeader(
            metrics=[IndexedMetric(name=name, lower_is_better=metrics[name]) for name in kept],
            omitted_metrics=len(metrics) - len(kept),
            filters=[_clean_name(name) for name in task.filters[:MAX_FILTERS]],
            knows_truncated=task.max_tokens is not None,
        )
        self._seen = bytearray()
        self._parts: list[bytes] = []
        self._at = 0
        self._cards: list[list[Any]] = []
        self._start_zone()

    def add(self, line: bytes, frame: int, offset: int) -> None:
        """Add a line without its end, which begins at byte `offset` of the content of the frame at byte `frame`."""
        if self._header.rows == MAX_ROWS:
            raise OmittedIndex(f"there are more than {MAX_ROWS:,} of them")
        self._header.rows += 1
        columns = self._columns
        columns["frame"].append(frame)
        columns["offset"].append(offset)
        columns["size"].append(len(line))
        sample = None if parse_excess(line) else parse_line(line)
        self._add_sample(sample if isinstance(sample, dict) else {})
        if len(self._cards) == BLOCK_ROWS:
            self._end_block()
        if len(columns["flags"]) == ZONE_ROWS:
            self._end_zone()

    def take(self) -> bytes:
        """Return what is certain by now, and has not been returned before."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content

    def finish(self) -> bytes:
        """Return the rest."""
        if self._columns["flags"]:
            self._end_zone()
        return self.take() + encode_header(self._header)

    def _add_sample(self, sample: dict[str, Any]) -> None:
        raw, scored = find_raw_answer(sample), sample.get("filtered_resps", sample.get("resps"))
        texts = list(islice(list_answer_texts(scored), MAX_PARTS))
        raw_texts = texts if raw is scored else list(islice(list_answer_texts(raw), MAX_PARTS))
        tokens = count_tokens(sample)
        values = [_to_float(read_score(sample, name, self._task.criteria)) for name in self._metrics]
        flags = self._judge(sample, texts, raw_texts, tokens)
        document = sample.get("doc_id")
        key = make_document_key(document)
        prompt, target = sample.get("input"), sample.get("target")
        length, filter_number = min(sum(map(len, texts)), UNKNOWN - 1), self._count_line(key)
        written = min(sum(tokens), UNKNOWN - 1) if tokens else UNKNOWN
        columns = self._columns
        columns["flags"].append(flags)
        columns["document"].append(key)
        columns["filter"].append(filter_number)
        columns["length"].append(length)
        columns["tokens"].append(written)
        self._hashes["target"] += hash_value(target)
        self._hashes["input"] += hash_value(prompt)
        self._hashes["cluster"] += self._hash_cluster(sample)
        for column, value in zip(self._values, values, strict=True):
            column.append(value)
        self._cards.append(
            [
                document if type(document) is int and key >= 0 else _cut(document) if document is not None else None,
                filter_number,
                flags,
                length,
                None if written == UNKNOWN else written,
                _cut(prompt),
                _cut(target),
                _cut(texts),
                [None if value != value else value for value in values],
                self._find_media(key),
            ]
        )

    def _judge(self, sample: dict[str, Any], texts: list[str], raw_texts: list[str], tokens: list[int]) -> int:
        wrong = is_wrong(sample, self._task.criteria)
        found = {
            SampleFlag.WRONG: wrong is True,
            SampleFlag.RIGHT: wrong is False,
            SampleFlag.EMPTY: bool(sample) and not any(map(str.strip, texts)),
            SampleFlag.FAILED: is_failed(raw_texts),
            SampleFlag.TRUNCATED: is_truncated(tokens, self._task.max_tokens),
        }
        return sum(FLAG_BITS[flag] for flag, holds in found.items() if holds)

    def _count_line(self, document: int) -> int:
        """Return of which filter a line of the document is: it has one for each, in their order."""
        if len(self._header.filters) < 2 or not 0 <= document < MAX_COUNTED:
            return 0
        seen = self._seen
        if document >= len(seen):
            seen.extend(bytes(document + 1 - len(seen)))
        number = seen[document]
        seen[document] = min(number + 1, len(self._header.filters) - 1)
        return number

    def _hash_cluster(self, sample: dict[str, Any]) -> bytes:
        name = self._task.cluster_key
        if name is None:
            return _NO_HASH
        parts = (sample.get(metric) for metric in self._metrics)
        found = next((part[name] for part in parts if isinstance(part, dict) and part.get(name) is not None), None)
        return _NO_HASH if found is None else hash_value(found)

    def _start_zone(self) -> None:
        self._columns = {name: array(kind) for name, kind in COLUMNS.items() if isinstance(kind, str)}
        self._hashes = {name: bytearray() for name, kind in COLUMNS.items() if isinstance(kind, int)}
        self._values = [array(METRIC_TYPE) for _ in self._metrics]

    def _end_block(self) -> None:
        self._columns["blocks"].append(self._at)
        self._write(pack(_ENCODER.encode(self._cards).encode()))
        self._cards = []

    def _end_zone(self) -> None:
        if self._cards:
            self._end_block()
        self._columns["blocks"].append(self._at)
        flags = self._columns["flags"].tobytes()
        counts = [sum(map(flags.count, _list_bytes(bit))) for bit in FLAG_BITS.values()]
        ordered = [self._columns[name] if name in self._columns else self._hashes[name] for name in COLUMNS]
        packed = [pack(bytes(column)) for column in chain(ordered, self._values)]
        zone = Zone(rows=len(flags), start=self._at, sizes=list(map(len, packed)), counts=counts)
        self._header.zones.append(zone)
        self._write(b"".join(packed))
        self._start_zone()

    def _write(self, content: bytes) -> None:
        self._parts.append(content)
        self._at += len(content)


def encode_omission(why: str) -> bytes:
    """Return an index that says why there is none."""
    return encode_header(IndexHeader(omitted=why[:500]))


def _list_bytes(bit: int) -> list[bytes]:
    return [bytes([value]) for value in range(1 << len(FLAG_BITS)) if value & bit]


def _clean_name(name: str) -> str:
    return name[:MAX_NAME].encode("utf-8", "replace").decode()


def _to_float(value: float | None) -> float:
    try:
        number = _NAN if value is None else float(value)
    except OverflowError:
        return _NAN
    return number if abs(number) < float("inf") else _NAN


def _cut(value: Any) -> str:
    """Return the beginning of a text, or of the texts in a list, or of JSON."""
    text = value if isinstance(value, str) else _to_text(value)
    return text if len(text) <= CARD_TEXT else text[: CARD_TEXT - 1] + _CONTINUED


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(islice(list_answer_texts(value), CARD_TEXT))
    return "" if value is None else json.dumps(value)
