"""Hides the secrets of the run in the files that it wrote: a model's answer, or the error in its place, may hold one.

In JSON only inside the strings: a secret of digits must not cost a number. A file without secrets stays as it is, byte for byte.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from lmms_eval_core.json_text import MAX_LINE_BYTES, STRING
from lmms_eval_core.redact import HIDDEN

JSON_SUFFIXES: Final = (".json", ".jsonl")

_STRING: Final = re.compile(STRING)


def hide(secrets: Iterable[str], files: Iterable[Path]) -> list[Path]:
    """Those of `files` that held one of `secrets`, and hold none any more. JSON and JSON lines are known by their names."""
    longest_first = sorted(secrets, key=len, reverse=True)
    if not longest_first:
        return []
    known = re.compile("|".join(map(re.escape, longest_first)))
    suspect = re.compile(b"|".join(sorted({_unescaped(secret) for secret in longest_first})))

    anywhere = re.compile(b"|".join(re.escape(secret.encode()) for secret in longest_first))

    def clean_json(line: bytes) -> bytes:
        return _STRING.sub(lambda string: _cleaned(string[0], known), line) if suspect.search(line) else line

    def clean(line: bytes) -> bytes:
        return anywhere.sub(HIDDEN.encode(), line)

    return [path for path in files if _rewritten(path, clean_json if path.suffix in JSON_SUFFIXES else clean)]


def _unescaped(secret: str) -> bytes:
    """The longest part of a secret that no escape changes: where that is not, the secret is not."""
    longest: str = max(re.findall("[A-Za-z0-9]*", secret), key=len)
    return longest.encode()


def _cleaned(string: bytes, known: re.Pattern[str]) -> bytes:
    """One string of JSON. Its text is searched: what begins with a secret's first letter may be the end of an escape."""
    try:
        text = json.loads(string.decode(errors="replace"), strict=False)
    except ValueError:
        return json.dumps(HIDDEN).encode()
    cleaned = known.sub(HIDDEN, text)
    return string if cleaned == text else json.dumps(cleaned).encode()


def _rewritten(path: Path, clean: Callable[[bytes], bytes]) -> bool:
    with path.open("rb") as file:
        if all(clean(line) == line for line in _lines(file)):
            return False
        file.seek(0)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as target:
            target.writelines(map(clean, _lines(file)))
            os.fchmod(target.fileno(), 0o644)
    os.replace(target.name, path)
    return True


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines; one that is longer than anybody takes comes in parts, which nobody is given."""
    return iter(lambda: file.readline(MAX_LINE_BYTES), b"")
