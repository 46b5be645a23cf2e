"""Which media documents have, in little memory."""

import pytest

from lmms_eval_core.media import DocumentMedia
from lmms_eval_core.sample_index.format import make_document_key
from lmms_eval_reporter import media_table
from lmms_eval_reporter.media_table import MediaTable


def make_document(number: int | str | None, digit: str = "a", *, task: str = "mme", more: int = 0) -> DocumentMedia:
    content = {"t": task, "d": number, "i": [{"kind": "image", "thumb": digit * 64}], "x": more}
    return DocumentMedia.model_validate(content)


def test_a_document_is_found_by_its_key() -> None:
    table = MediaTable()
    for number in (3, 1, 2, "x"):
        table.add(make_document(number, f"{number}" if number != "x" else "f", more=2))
    table.add(make_document(2, "e", task="other"))
    assert table.find("mme", 1) == [2, {"kind": "image", "thumb": "1" * 64}]
    assert table.find("mme", make_document_key("x")) == [2, {"kind": "image", "thumb": "f" * 64}]
    assert table.find("other", 2) == [0, {"kind": "image", "thumb": "e" * 64}]
    assert table.find("mme", 4) is None and table.find("none", 1) is None
    assert table.encode_digests() == b"".join(bytes([digit * 17]) * 32 for digit in (1, 2, 3, 14, 15))


def test_the_last_line_of_a_document_counts() -> None:
    table = MediaTable()
    for digit in "abc":
        table.add(make_document(1, digit))
        table.add(make_document(0, digit))
    assert table.find("mme", 1) == [0, {"kind": "image", "thumb": "c" * 64}] and table.find("mme", 0)


def test_beyond_its_memory_documents_have_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_table, "MAX_ITEM_BYTES", 150)
    table = MediaTable()
    for number, digit in enumerate("aabc"):
        table.add(make_document(number, digit, more=1))
    assert [table.find("mme", number) for number in range(4)] == [
        *2 * [[1, {"kind": "image", "thumb": "a" * 64}]],
        *2 * [[2]],
    ]


def test_files_documents_and_tasks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_DOCUMENTS", "MAX_TASKS", "MAX_FILES"):
        monkeypatch.setattr(media_table, name, 2)
    table = MediaTable()
    for number, task in enumerate("abcd"):
        table.add(make_document(number, task, task=task))
    assert [table.find(task, number) is None for number, task in enumerate("abcd")] == [False, False, True, True]
    assert not table.has_room(bytes(32)) and table.has_room(bytes.fromhex("a" * 64))
