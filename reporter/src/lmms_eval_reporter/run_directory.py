"""Opens files of the run directory, which the user's code fills: regular files beneath it alone, through no link, never
blocking. It also makes files there, for the evaluator to read.

Every component of a path is opened by itself, relative to its parent, so that nothing can be swapped under us.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from lmms_eval_core.harness_files import MAX_DEPTH, InvalidPath, split_path

# Of one folder: of millions of files the first ones are taken.
MAX_ENTRIES: Final = 10_000

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO must not wait for a writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeFile(Exception):
    """The path leads nowhere, outside, through a link, or to something that is not a regular file."""


class FileVersion(NamedTuple):
    """Changes whenever a file is replaced or written."""

    inode: int
    modified_ns: int
    size: int


class RunDirectory:
    """The directory at `path`, held open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the handle of the directory."""
        os.close(self._root)

    def read_version(self, name: str) -> FileVersion | None:
        """Return the version of a file directly in the directory; None without such a file."""
        try:
            found = os.stat(name, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return FileVersion(found.st_ino, found.st_mtime_ns, found.st_size)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """Open the file at the relative `path`, unbuffered; the message of UnsafeFile says why that cannot be."""
        try:
            handle = self._open(split_path(path))
        except InvalidPath as error:
            raise UnsafeFile(str(error)) from error
        except OSError as error:
            raise UnsafeFile(f"{path!r} cannot be opened: {error.strerror}") from error
        try:
            _require_regular(handle, path)
            with open(handle, "rb", buffering=0, closefd=False) as stream:
                yield stream
        finally:
            os.close(handle)

    def list_below(self, folder: str) -> Iterator[str]:
        """Yield the paths of all but folders below `folder`, sorted within each; nothing where there is
        no such folder.
        """
        try:
            handle = os.open(folder, _DIRECTORY, dir_fd=self._root)
        except OSError:
            return
        yield from _walk(handle, folder, MAX_DEPTH - 1)

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the whole of a small file; UnsafeFile also where it is larger than `max_bytes`."""
        with self.open(path) as stream:
            content = b"".join(read_pieces(stream, max_bytes + 1))
        if len(content) > max_bytes:
            raise UnsafeFile(f"{path!r} is larger than {max_bytes} bytes")
        return content

    def read_tail(self, path: str, *, max_bytes: int) -> bytes:
        """Return the last bytes of a file, `max_bytes` at most."""
        with self.open(path) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - max_bytes))
            return b"".join(read_pieces(stream, max_bytes))

    @contextmanager
    def create(self, folder: str, name: str) -> Iterator[BinaryIO]:
        """Make a file in a folder directly beneath, in place of what has its name; everybody may read both.

        OSError where that cannot be, as where the folder is a link.
        """
        with suppress(FileExistsError):
            os.mkdir(folder, dir_fd=self._root)
        parent = os.open(folder, _DIRECTORY, dir_fd=self._root)
        try:
            os.fchmod(parent, 0o755)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
            handle = os.open(name, _NEW_FILE, dir_fd=parent)
        finally:
            os.close(parent)
        with open(handle, "wb") as stream:
            os.fchmod(handle, 0o644)
            yield stream

    def remove(self, folder: str, name: str) -> None:
        """Remove a file of a folder directly beneath, as far as that can be."""
        with suppress(OSError):
            parent = os.open(folder, _DIRECTORY, dir_fd=self._root)
            try:
                os.unlink(name, dir_fd=parent)
            finally:
                os.close(parent)

    def _open(self, path: list[str]) -> int:
        parent = os.dup(self._root)
        try:
            for name in path[:-1]:
                child = os.open(name, _DIRECTORY, dir_fd=parent)
                os.close(parent)
                parent = child
            return os.open(path[-1], _FILE, dir_fd=parent)
        finally:
            os.close(parent)


def _walk(handle: int, path: str, depth: int) -> Iterator[str]:
    """Yield paths below the open folder `handle`, which is closed at the end."""
    try:
        with os.scandir(handle) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, MAX_ENTRIES))
        yield from (f"{path}/{name}" for name, is_folder in found if not is_folder)
        for name in (name for name, is_folder in found if is_folder and depth > 1):
            try:
                child = os.open(name, _DIRECTORY, dir_fd=handle)
            except OSError:
                continue
            yield from _walk(child, f"{path}/{name}", depth - 1)
    finally:
        os.close(handle)


def read_pieces(stream: BinaryIO, limit: int, *, size: int = 1024 * 1024) -> Iterator[bytes]:
    """Yield at most `limit` bytes of a stream, which may go on growing, piece by piece."""
    while limit > 0 and (piece := stream.read(min(size, limit))):
        limit -= len(piece)
        yield piece


def _require_regular(handle: int, path: str) -> None:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile(f"{path!r} is not a regular file")
    if found.st_nlink != 1:
        # A second name may belong to a file outside, which the user's code could not have read.
        raise UnsafeFile(f"{path!r} has {found.st_nlink} names")
