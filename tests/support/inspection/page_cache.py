"""How much of a file is in the page cache.

mincore(2) reads nothing itself; a read with RWF_NOWAIT would start the read of what is missing.
"""

import ctypes
import mmap
import os
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def count_cached_bytes(path: Path) -> int:
    """Return how many bytes of the file are cached, in whole pages."""
    size = path.stat().st_size
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    with path.open("rb") as file:
        address = _LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if _LIBC.mincore(address, size, pages):
        raise OSError(ctypes.get_errno(), "mincore")
    _LIBC.munmap(address, size)
    return mmap.PAGESIZE * pages.raw.count(1)


def drop_from_cache(path: Path) -> None:
    """Drop the file from the cache, so that the next reader waits for the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
