"""The built web page, read into memory once: what is not in it cannot be asked for, whatever the path."""

import html
import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from lmms_eval_api.settings import SettingsError

INDEX: Final = "index.html"
ASSETS: Final = "assets/"
COMPRESSED: Final = ".gz"
MAX_BYTES: Final = 64 * 1024 * 1024
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
BASE: Final = re.compile(rb"<base\b[^>]*>", re.IGNORECASE)
HEAD: Final = re.compile(rb"<head\b[^>]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file, and its compressed form where the build made one."""

    media_type: str
    content: bytes
    compressed: bytes | None = None
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{sha256(self.content).hexdigest()[:32]}"')


class Bundle:
    """The files of the page by their path below /ui/."""

    def __init__(self, files: dict[str, bytes], *, root_path: str = "") -> None:
        files = {**files, INDEX: set_base(files[INDEX], f"{root_path}/ui/")}
        self._files = {
            path: WebFile(_find_media_type(path), content, files.get(path + COMPRESSED) if path != INDEX else None)
            for path, content in files.items()
            if not path.endswith(COMPRESSED)
        }
        self.index = self._files[INDEX]

    def find(self, path: str) -> WebFile | None:
        """Return the file of this path; None if there is none."""
        return self._files.get(path)


def read_bundle(directory: Path | None, *, root_path: str = "") -> Bundle | None:
    """Return the bundle in a directory; None where there is no page in it.

    Raises SettingsError for what cannot be a bundle by its size.
    """
    if directory is None or not (directory / INDEX).is_file():
        return None
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    if sum(path.stat().st_size for path in paths) > MAX_BYTES:
        raise SettingsError(f"{directory} holds more than {MAX_BYTES} bytes: it is not the folder of the web page")
    return Bundle(
        {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths},
        root_path=root_path,
    )


def set_base(index: bytes, href: str) -> bytes:
    """Return the page with this address as that of its relative links, in place of its own or after `<head>`."""
    base = f'<base href="{html.escape(href)}">'.encode()
    if BASE.search(index):
        return BASE.sub(lambda _: base, index, count=1)
    return HEAD.sub(lambda head: head[0] + base, index, count=1)


def _find_media_type(path: str) -> str:
    return MEDIA_TYPES.get(Path(path).suffix, "application/octet-stream")
