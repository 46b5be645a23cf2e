"""Lines and names of journals: what is ours is read, anything else is nothing, whatever somebody wrote."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.journal import (
    MAX_LINE_BYTES,
    ChunkLine,
    CompletionLine,
    FailureLine,
    HeaderLine,
    JournalKind,
    JournalName,
    MediaLine,
    NextLine,
    parse_journal_line,
    parse_journal_name,
)

ID = "0123456789abcdef0123"
DIGEST = b"0123456789abcdef" * 4


def chunk(**changes: Any) -> bytes:
    answers = [{"t": "mme", "d": 7, "s": "yes", "c": [9, 1, None], "p": "Is it?", "g": "Yes"}]
    return json.dumps({"b": [{"id": ID, "a": answers}], "at": 1.5, "s": 0.25} | changes, separators=(",", ":")).encode()


LINES: dict[Any, bytes] = {
    HeaderLine: b'{"v":1,"header":{"attempt":3,"rank":0,"parts":{"run":"x"}}}',
    ChunkLine: chunk(),
    NextLine: b'{"n":["%s"]}' % ID.encode(),
    FailureLine: b'{"f":["%s"],"r":"OutOfMemory"}' % ID.encode(),
    CompletionLine: b'{"k":"ab.1","r":{"id":"x"}}',
    MediaLine: b'{"m":{"t":"mme","d":7,"i":[{"kind":"image","thumb":"%s","width":640,"height":480}],"x":2}}' % DIGEST,
}


@pytest.mark.parametrize("kind", LINES)
def test_each_line_is_read_and_written_alike(kind: Any) -> None:
    found = parse_journal_line(LINES[kind] + b"\n")
    assert found is not None and isinstance(found, kind) and found.to_json().encode() == LINES[kind]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"v":2,"header":{"attempt":3,"rank":0,"parts":{}}}',
        b'{"n":["x"]}',
        b'{"n":["%s"]' % ID.encode(),
        b'{"m":{"t":"mme","d":7,"i":[{"kind":"image","thumb":"../%s"}]}}' % DIGEST[3:],
        b'{"m":{"t":"mme","d":7,"i":[{"kind":"program"}]}}',
        b'{"m":{"t":"mme","d":7,"i":[%s]}}' % b",".join(17 * [b'{"kind":"image"}']),
        b'{"k":"\xff","r":{}}',
        rb'{"k":"\ud800","r":{}}',
        chunk(b=[]),
        chunk(at=float("nan")),
        chunk(s=float("inf")),
        b'{"k":"a","r":{"x":' + b"9" * 100_000 + b"}}",
        b'{"k":"a","r":{"x":' + b"[" * 101 + b"]" * 101 + b"}}",
        b'{"k":"a","r":{"x":[' + b"0," * 500_000 + b"0]}}",
        b'{"k":"a","r":{"x":"' + b"x" * MAX_LINE_BYTES + b'"}}',
    ],
    ids=lambda line: line[:40],
)
def test_what_is_no_line_of_ours_is_nothing(line: bytes) -> None:
    assert parse_journal_line(line) is None


@given(st.binary(max_size=60), st.sampled_from(list(LINES.values())), st.integers(0, 200))
def test_no_bytes_raise(junk: bytes, line: bytes, at: int) -> None:
    parse_journal_line(junk)
    parse_journal_line(line[:at] + junk + line[at:])


@pytest.mark.parametrize("name", [JournalName(3, 0), *(JournalName(12, 63, kind) for kind in JournalKind)])
def test_names(name: JournalName) -> None:
    assert parse_journal_name(str(name)) == name


@pytest.mark.parametrize(
    "name", ["", "a3-r0.jsonl", "a000003-r0.jsonl.tmp", "x-a000003-r0.jsonl", "../a000003-r0.jsonl"]
)
def test_other_names(name: str) -> None:
    assert parse_journal_name(name) is None
