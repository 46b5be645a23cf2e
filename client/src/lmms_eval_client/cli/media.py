"""Files of a sample's media, written into a folder; for `lmmeval samples --doc`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.screen import note
from lmms_eval_client.client import Client
from lmms_eval_client.errors import NotFound
from lmms_eval_core import layout
from lmms_eval_core.media import MediaItem
from lmms_eval_core.media_types import find_media_type
from lmms_eval_core.wire import SampleCard

# What a file of an unknown type is called.
OTHER: Final = "bin"


def save_media(client: Client, job_id: str, task: str, card: SampleCard, folder: Path) -> None:
    """Write the best file that is kept of each item; what is no longer kept is told."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, item in enumerate(card.media):
            name = f"{layout.segment(task)}-{layout.segment(str(card.doc_id))}-{number}"
            _save_item(client, job_id, item, folder / name)
    except OSError as error:
        raise CliError(f"{folder} cannot be written: {error.strerror}") from error
    more = f"; {card.media_more} more are not listed" if card.media_more else ""
    note(f"{len(card.media)} media of sample {card.doc_id}{more}.")


def _save_item(client: Client, job_id: str, item: MediaItem, target: Path) -> None:
    digest = item.original or item.display or item.thumb
    if digest is None:
        note(f"{target.name}: this {item.kind} was not kept: {item.omitted or 'nobody says why'}.")
        return
    try:
        path = _write(client.media(job_id, digest), target)
    except NotFound as error:
        note(f"{target.name}: {error}")
    else:
        note(f"{path}: {path.stat().st_size} bytes")


def _write(content: Iterator[bytes], target: Path) -> Path:
    """Writes it beside its place first: whoever finds that has the whole of it."""
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file:
            beginning = next(content, b"")
            found = find_media_type(beginning)
            file.write(beginning)
            file.writelines(content)
        return part.replace(target.with_name(f"{target.name}.{found.ending if found else OTHER}"))
    finally:
        part.unlink(missing_ok=True)
