"""The index of samples: what is written is read again, and what is not as it was written is refused in bounded time."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_core.sample_index import format as index_format
from lmms_eval_core.sample_index import writer as index_writer
from lmms_eval_core.sample_index.format import (
    CARD_TEXT,
    COLUMNS,
    FLAG_BITS,
    MAGIC,
    METRIC_TYPE,
    TAIL_BYTES,
    CardField,
    DamagedIndex,
    IndexHeader,
    OmittedIndex,
    Zone,
    decode_header,
    encode_header,
    hash_value,
    make_document_key,
    pack,
    unpack,
)
from lmms_eval_core.sample_index.reader import (
    BlockRange,
    Condition,
    Order,
    find_blocks,
    find_document,
    find_flagged,
    order_rows,
    parse_condition,
    read_card_media,
    read_cards,
    read_numbers,
)
from lmms_eval_core.sample_index.writer import SampleIndexWriter, encode_omission
from lmms_eval_core.sample_scoring import (
    FAILED_MARK,
    SampledTask,
    SampleFlag,
    ScoringCriteria,
    is_wrong,
    read_sampled_task,
    read_score,
)

TASK = SampledTask(ScoringCriteria({"acc": False, "wer": True}), ("strict", "flexible"), 8, "video")

TEXTS = st.text(st.characters(exclude_categories=()), max_size=200)
NUMBERS = st.one_of(st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats())
VALUES = st.recursive(st.one_of(NUMBERS, TEXTS), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
SAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "doc_id": st.one_of(st.integers(-5, 5), st.integers(0, 1 << 70), TEXTS, st.none(), st.lists(TEXTS, max_size=2)),
        "input": VALUES,
        "target": VALUES,
        "resps": VALUES,
        "filtered_resps": VALUES,
        "token_counts": st.one_of(
            st.none(), st.lists(st.one_of(st.none(), st.fixed_dictionaries({"output_tokens": NUMBERS})), max_size=3)
        ),
        "acc": st.one_of(NUMBERS, st.fixed_dictionaries({"score": NUMBERS, "video": VALUES}), TEXTS),
        "wer": NUMBERS,
    },
)


def write(lines: list[bytes], task: SampledTask = TASK) -> bytes:
    writer = SampleIndexWriter(task)
    parts = []
    for number, line in enumerate(lines):
        writer.add(line, 7 * number, number)
        parts.append(writer.take())
    return b"".join(parts) + writer.finish()


def write_samples(samples: list[Any], task: SampledTask = TASK) -> bytes:
    return write([json.dumps(sample).encode() for sample in samples], task)


def cut_column(index: bytes, header: IndexHeader, zone: Zone, place: int) -> bytes:
    start = zone.start + sum(zone.sizes[:place])
    return index[start : start + zone.sizes[place]]


def read_all(index: bytes) -> dict[str, list[Any]]:
    """Everything that an index holds, by column, and its cards."""
    header = decode_header(index, len(index))
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS} | {"cards": []}
    names = [*COLUMNS, *(metric.name for metric in header.metrics)]
    for zone in header.zones:
        for place, name in enumerate(names):
            packed, kind = cut_column(index, header, zone, place), COLUMNS.get(name, METRIC_TYPE)
            if name == "blocks":
                blocks = find_blocks(packed, zone, range(zone.rows))
                for block in blocks:
                    rows = min(index_format.BLOCK_ROWS, zone.rows - block.first)
                    found["cards"] += read_cards(index[block.start : block.end], rows, len(header.metrics))
            elif isinstance(kind, int):
                content = unpack(packed, kind * zone.rows)
                found[name] += [content[at : at + kind] for at in range(0, len(content), kind)]
            else:
                found.setdefault(name, []).extend(read_numbers(packed, kind, zone.rows))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(SAMPLES, max_size=20), st.integers(1, 4), st.integers(1, 3))
def test_what_is_written_is_read(samples: list[dict[str, Any]], block: int, blocks: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (index_format, index_writer):
            patch.setattr(module, "ZONE_ROWS", block * blocks)
            patch.setattr(module, "BLOCK_ROWS", block)
        patch.setattr("lmms_eval_core.sample_index.reader.BLOCK_ROWS", block)
        index = write_samples(samples)
        found, header = read_all(index), decode_header(index, len(index))
    assert header.rows == len(samples) == len(found["cards"])
    read = [json.loads(json.dumps(sample)) for sample in samples]
    for row, (sample, card) in enumerate(zip(read, found["cards"], strict=True)):
        assert (found["frame"][row], found["offset"][row]) == (7 * row, row)
        assert found["size"][row] == len(json.dumps(samples[row]))
        assert found["document"][row] == make_document_key(sample.get("doc_id"))
        assert found["target"][row] == hash_value(sample.get("target"))
        assert all(len(card[place]) <= CARD_TEXT for place in (CardField.PROMPT, CardField.TARGET, CardField.ANSWER))
        flags = {flag for flag, bit in FLAG_BITS.items() if found["flags"][row] & bit}
        wrong = is_wrong(sample, TASK.criteria)
        assert (SampleFlag.WRONG in flags, SampleFlag.RIGHT in flags) == (wrong is True, wrong is False)
        for name, value in zip(("acc", "wer"), card[CardField.VALUES], strict=True):
            known = read_score(sample, name, TASK.criteria)
            stored = found[name][row]
            assert (value is None) == math.isnan(stored) and (value is None or value == stored)
            assert known is None or value is None or value == float(known)
    for flag in SampleFlag:
        assert header.count(flag) == sum(bool(bits & FLAG_BITS[flag]) for bits in found["flags"])


ITEM: dict[str, Any] = {"kind": "image", "thumb": "a" * 64, "width": 10}


def test_cards_have_the_media_of_their_documents() -> None:
    lines = [json.dumps({"doc_id": number}).encode() for number in range(3)]
    media_of: dict[int, list[Any]] = {0: [0, ITEM], 2: [5]}
    writer = SampleIndexWriter(TASK, lambda key: media_of.get(key))
    for number, line in enumerate(lines):
        writer.add(line, 0, number)
    cards = read_all(writer.finish())["cards"]
    media = [read_card_media(card) for card in cards]
    assert [[item.model_dump(exclude_none=True) for item in items] for items, _ in media] == [[ITEM], [], []]
    assert [more for _, more in media] == [0, 0, 5]


def test_cards_of_another_release_are_read() -> None:
    (card,) = read_all(write_samples([{"doc_id": 1}]))["cards"]
    for other in (card[: CardField.MEDIA], [*card, "more"]):
        (read,) = read_cards(pack(json.dumps([other]).encode()), 1, 2)
        assert read == other and read_card_media(read) == ([], 0)


@pytest.mark.parametrize("media", [None, [], "x", 7, ["x"], [-1], [True], {"kind": "image"}])
def test_media_of_another_shape_are_none(media: Any) -> None:
    assert read_card_media([0] * CardField.MEDIA + [media]) == ([], 0)


@pytest.mark.parametrize(
    "item", [None, {}, {"kind": "script"}, {"kind": "image", "thumb": "../x"}, ITEM | {"width": -1}]
)
def test_an_item_of_another_shape_is_not_listed(item: Any) -> None:
    items, more = read_card_media([0] * CardField.MEDIA + [[1, item, ITEM]])
    assert [found.thumb for found in items] == ["a" * 64] and more == 2
    assert read_card_media([0] * CardField.MEDIA + [[0] + 20 * [ITEM]])[1] == 4


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 10**6), st.sampled_from(["tail", "length", "text"]))
def test_bytes_that_are_no_index(content: bytes, size: int, part: str) -> None:
    if part != "tail":
        length = len(content) if part == "text" else size
        content += length.to_bytes(4, "little") + MAGIC
    with pytest.raises(DamagedIndex):
        decode_header(content, max(size, len(content)))


INDEX = write_samples([{"doc_id": number, "acc": number % 2, "filtered_resps": "x" * number} for number in range(200)])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(INDEX) - 1), st.integers(1, 255), st.booleans())
def test_an_index_with_another_byte_or_cut_is_read_or_refused(place: int, other: int, is_cut: bool) -> None:
    torn = INDEX[:place] if is_cut else INDEX[:place] + bytes([INDEX[place] ^ other]) + INDEX[place + 1 :]
    try:
        found = read_all(torn)
    except DamagedIndex:
        return
    assert len(found["cards"]) <= 200


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"columns": list(COLUMNS)[1:]},
        {"columns": list(reversed(COLUMNS))},
        {"rows": 201},
        {"rows": 2_000_001},
        {"zones": []},
        {"metrics": []},
        {"zones": [{"sizes": [0]}]},
        {"zones": [{"start": 10**9}]},
        {"zones": [{"start": -1}]},
        {"zones": [{"counts": [201, 0, 0, 0, 0]}]},
        {"zones": [{"sizes": [5000, *[0] * 13]}]},
    ],
)
def test_a_header_that_does_not_fit(fields: dict[str, Any]) -> None:
    header = json.loads(decode_header(INDEX, len(INDEX)).model_dump_json())
    zones = [header["zones"][0] | zone for zone in fields.pop("zones", [{}])]
    text = json.dumps(header | {"zones": zones} | fields).encode()
    body = bytes(100_000)
    whole = body + text + len(text).to_bytes(4, "little") + MAGIC
    with pytest.raises(DamagedIndex):
        decode_header(whole, len(whole))


def test_a_column_added_behind_is_passed_over() -> None:
    header = decode_header(INDEX, len(INDEX))
    header.columns.append("seconds")
    header.zones[0].sizes.insert(len(COLUMNS), 0)
    added = INDEX[: -TAIL_BYTES - int.from_bytes(INDEX[-TAIL_BYTES : -len(MAGIC)], "little")] + encode_header(header)
    assert decode_header(added, len(added)).find_metric("acc") == len(COLUMNS) + 1


def test_parts_that_do_not_fit() -> None:
    zone = decode_header(INDEX, len(INDEX)).zones[0]
    with pytest.raises(DamagedIndex, match="too long"):
        unpack(pack(bytes(10**6)), 10**5)
    with pytest.raises(DamagedIndex, match="cannot be decompressed"):
        unpack(b"x", 5)
    with pytest.raises(DamagedIndex, match="too short"):
        find_flagged(pack(bytes(10)), 11, SampleFlag.WRONG, start=0, limit=1)
    for offsets in ([5, 5, 5, 5, 5], [9, 8, 7, 6, 5], [0, zone.start + 1, 0, 0, 0]):
        packed = pack(b"".join(offset.to_bytes(8, "little") for offset in offsets))
        with pytest.raises(DamagedIndex, match="elsewhere"):
            find_blocks(packed, zone, [0])


CARD = [0, 0, 1, 5, None, "p", "t", "a", [1.0]]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{}",
        b"[]",
        b"[1]",
        b"[" * 200 + b"]" * 200,
        *(
            json.dumps([[*CARD[:place], odd, *CARD[place + 1 :]]]).encode()
            for place, odd in [
                (0, -1), (0, 1.5), (0, []), (0, "x" * 161), (1, "x"), (2, None), (3, 1 << 62), (4, "x"), (5, 1),
                (6, "x" * 161), (7, None), (8, []), (8, ["x"]), (8, [True]), (8, {}),
            ]
        ),
        json.dumps([CARD[:8]]).encode(),
    ],
)  # fmt: skip
def test_cards_that_are_none(content: bytes) -> None:
    assert read_cards(pack(json.dumps([CARD]).encode()), 1, 1) == [CARD]
    with pytest.raises(DamagedIndex):
        read_cards(pack(content), 1, 1)


def test_of_a_block_the_wanted_cards_are_looked_at() -> None:
    packed = pack(json.dumps([CARD, [1]]).encode())
    assert read_cards(packed, 2, 1, [0])[0] == CARD
    with pytest.raises(DamagedIndex):
        read_cards(packed, 2, 1, [0, 1])


def test_samples_beyond_the_bounds_are_not_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_writer, "MAX_ROWS", 2)
    with pytest.raises(OmittedIndex, match="more than 2 of them"):
        write_samples([{}] * 3)
    names = {f"metric {number} \ud800" if number < 3 else "é" * 190 + str(number): False for number in range(40)}
    criteria = ScoringCriteria(dict(names))
    header = decode_header(index := write([], SampledTask(criteria)), len(index))
    assert (len(header.metrics), header.omitted_metrics, header.rows) == (16, 24, 0)
    monkeypatch.setattr(index_format, "MAX_HEADER_BYTES", 1000)
    with pytest.raises(OmittedIndex, match="too long"):
        write([], SampledTask(criteria))


def test_an_omission_says_why() -> None:
    told = encode_omission("there are too many")
    assert decode_header(told, len(told)).omitted == "there are too many"


def test_what_is_wrong_is_judged_by_metrics_without_a_column_too() -> None:
    names = {f"m{number:02}": False for number in range(20)}
    index = write_samples([dict.fromkeys(names, 1.0) | {"m19": 0.0}], SampledTask(ScoringCriteria(names)))
    assert decode_header(index, len(index)).count(SampleFlag.WRONG) == 1


def test_the_number_of_a_line_says_its_filter() -> None:
    lines = [{"doc_id": number} for number in (0, 1, 0, 1, 0, "x", "x", 10**9)]
    assert read_all(write_samples(lines))["filter"] == [0, 0, 1, 1, 1, 0, 0, 0]
    assert read_all(write_samples(lines, TASK._replace(filters=("none",))))["filter"] == [0] * 8


def test_what_comparing_needs() -> None:
    one, other = {"acc": {"score": 1, "video": "v1"}, "target": "A", "input": "Q"}, {"acc": 1, "target": "B"}
    found = read_all(write_samples([one, one, other]))
    assert found["cluster"] == [hash_value("v1")] * 2 + [bytes(6)]
    assert found["target"][0] == found["target"][1] != found["target"][2]
    assert found["input"][0] == hash_value("Q") != hash_value("q")
    assert read_all(write_samples([one], TASK._replace(cluster_key=None)))["cluster"] == [bytes(6)]


def test_flags_of_a_sample() -> None:
    failed, long = f"{FAILED_MARK}] no", [{"output_tokens": 8}]
    lines = [
        {"filtered_resps": "x", "resps": [failed], "acc": 0},
        {"filtered_resps": [" ", ""], "acc": 0},
        {"filtered_resps": "x", "token_counts": long, "acc": 1},
        {"filtered_resps": "x", "token_counts": long},
    ]
    flags = read_all(write_samples(lines))["flags"]
    assert [[flag.value for flag, bit in FLAG_BITS.items() if bits & bit] for bits in flags] == [
        ["wrong", "failed"],
        ["wrong", "empty"],
        ["right", "truncated"],
        ["truncated"],
    ]


def test_orders_and_conditions() -> None:
    rows = [3, 2]
    values = [pack(part) for part in (_pack_floats(0.5, math.nan, 0.25), _pack_floats(1.0, 0.25))]
    tokens = [pack(part) for part in (_pack_ints(7, 1, 0xFFFF_FFFF), _pack_ints(1, 9))]
    flags = [pack(bytes([1, 2, 3])), pack(bytes([0, 1]))]

    def order(**fields: Any) -> list[int]:
        packed = order_rows(rows, Order(**fields))
        return [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)]

    assert order() == [0, 1, 2, 3, 4]
    assert order(flag=SampleFlag.WRONG, flags=flags) == [0, 2, 4]
    assert order(sort=values) == [2, 4, 0, 3, 1]
    assert order(sort=values, descending=True) == [3, 0, 2, 4, 1]
    assert order(sort=tokens, sort_type="I") == [1, 3, 0, 4, 2]
    for sign, expected in {"<": [2, 4], "<=": [0, 2, 4], ">": [3], ">=": [0, 3], "=": [0], "!=": [2, 3, 4]}.items():
        condition = Condition("acc", sign, 0.5)
        assert order(conditions=[(condition, values)]) == expected
    assert order(conditions=[(Condition("acc", "<", 1), values)], flag=SampleFlag.WRONG, flags=flags) == [0, 2, 4]


def _pack_floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def _pack_ints(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("acc<0.5", ("acc", "<", 0.5)),
        ("acc <= -1e3 ", ("acc", "<=", -1000.0)),
        ("a=b!=2", ("a=b", "!=", 2.0)),
        ("acc", None),
        ("acc<", None),
        ("<1", None),
        ("acc<e", None),
        ("acc<nan", None),
    ],
)
def test_conditions(text: str, condition: tuple[str, str, float] | None) -> None:
    assert parse_condition(text) == condition


def test_documents() -> None:
    keys = [make_document_key(document) for document in (5, "5", -5, 1 << 62, True, None, [1], 5)]
    assert keys[0] == 5 and all(key < 0 for key in keys[1:7]) and len(set(keys)) == 7
    packed = pack(b"".join(key.to_bytes(8, "little", signed=True) for key in keys))
    assert find_document(packed, 8, 5) == [0, 7]
    assert find_document(packed, 8, keys[2]) == [2] and find_document(packed, 8, 6) == []


def test_flagged_rows_of_a_zone() -> None:
    packed = pack(bytes([1, 0, 3, 2, 1]))
    assert find_flagged(packed, 5, SampleFlag.WRONG, start=0, limit=9) == [0, 2, 4]
    assert find_flagged(packed, 5, SampleFlag.WRONG, start=1, limit=1) == [2]
    assert find_blocks(pack(_pack_longs(0, 10, 20)), Zone(rows=65, start=20, sizes=[], counts=[0] * 5), [64, 0, 1]) == [
        BlockRange(0, 0, 10),
        BlockRange(64, 10, 20),
    ]


def _pack_longs(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def test_what_a_results_file_says_of_samples() -> None:
    results = {
        "results": {"t": {"alias": "t", "acc,strict": 1, "acc_stderr,strict": 0, "acc,flexible": 1}, "odd": "x"},
        "configs": {"t": {"generation_kwargs": {"max_new_tokens": 16}, "cluster_key": "video", "score_key": "points"}},
    }
    assert read_sampled_task(results, "t") == SampledTask(
        ScoringCriteria({"acc": False}, "points"), ("strict", "flexible"), 16, "video"
    )
    assert read_sampled_task(results, "odd") == read_sampled_task({}, "t") == SampledTask()
