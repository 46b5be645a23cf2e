"""What `lmmeval samples --doc --media` writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from lmms_eval_client import Client, NotFound, SampleCard
from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.media import save_media

PNG = b"\x89PNG\r\n\x1a\n"
WEBP = b"RIFF\n\0\0\0WEBP"
GONE = "This file is no longer kept."


class Album:
    """A client whose job has these files, by digest."""

    def __init__(self, **files: bytes) -> None:
        self._files = files

    def media(self, job_id: str, digest: str) -> Iterator[bytes]:
        assert job_id == "job"
        if digest[0] not in self._files:
            request = httpx.Request("GET", "http://test")
            raise NotFound(httpx.Response(404, json={"detail": GONE}, request=request))
        content = self._files[digest[0]]
        yield content[:100]
        yield content[100:]


def save(folder: Path, *items: dict[str, Any], doc_id: int | str = 17, task: str = "mme", **files: bytes) -> list[str]:
    card = SampleCard.model_validate({"row": 0, "doc_id": doc_id, "media": [*items], "media_more": 2})
    save_media(cast(Client, Album(**files)), "job", task, card, folder)
    return sorted(path.name for path in folder.iterdir())


def item(**places: str) -> dict[str, Any]:
    return {"kind": "image"} | {place: 64 * letter for place, letter in places.items()}


def test_the_best_file_of_each_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"
    items = item(thumb="a", display="b", original="c"), item(thumb="a", display="b"), item(thumb="a"), item()
    names = save(folder, *items, a=WEBP + b"a", b=WEBP + b"b" * 500, c=PNG + b"c")
    assert names == ["mme-17-0.png", "mme-17-1.webp", "mme-17-2.webp"]
    assert (folder / names[1]).read_bytes() == WEBP + b"b" * 500
    said = capsys.readouterr().err
    assert "mme-17-3: this image was not kept" in said and "2 more are not listed" in said


def test_what_is_no_longer_kept_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert save(tmp_path, item(thumb="a"), item(thumb="b"), b=PNG) == ["mme-17-1.png"]
    assert GONE in capsys.readouterr().err


def test_names_of_hostile_tasks_and_documents_stay_in_the_folder(tmp_path: Path) -> None:
    names = save(tmp_path / "a", item(thumb="a"), task="../../x", doc_id="../../y\n", a=b"#!/bin/sh")
    assert names == [".._.._x-.._.._y_-0.bin"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="cannot be written"):
        save(tmp_path / "file", item(thumb="a"), a=PNG)
