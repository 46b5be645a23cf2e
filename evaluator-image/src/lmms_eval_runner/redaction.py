"""Finds the secrets of a run in its environment, and hides them in the files that it wrote.

A model's answer, or the error in its place, may hold a secret. In JSON they are hidden only inside strings: a secret of
digits must not cost a number. A file without secrets stays as it is, byte for byte. The log is redacted by
`lmms_eval_core.redact`.
"""

import json
import os
import re
import tempfile
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote, quote_plus

from lmms_eval_core.json_text import MAX_LINE_BYTES, STRING
from lmms_eval_core.redact import HIDDEN

# Hiding a shorter value would hide half of the log with it.
MIN_LENGTH: Final = 6
JSON_SUFFIXES: Final = (".json", ".jsonl")

_SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")
_STRING: Final = re.compile(STRING)


def find_secrets(environ: Mapping[str, str], names: Iterable[str]) -> set[str]:
    """Return the values of the variables `names`, and of those named like a secret, in all forms that a
    text may hold.
    """
    chosen = set(names) | {name for name in environ if _SECRET_NAME.search(name)}
    forms = {form for name in chosen for form in _list_forms(environ.get(name, "").strip())}
    return {form for form in forms if len(form) >= MIN_LENGTH}


def _list_forms(value: str) -> Iterator[str]:
    """Yield the value line by line, since logs are read by lines; and in Base64, which knows no lines,
    as a whole too.
    """
    lines = [line.strip() for line in value.splitlines()]
    for line in lines:
        yield from (line, repr(line)[1:-1], json.dumps(line)[1:-1], json.dumps(line, ensure_ascii=False)[1:-1])
        yield from (quote(line, safe=""), quote(line), quote_plus(line))
    for text in {value, *lines}:
        if len(text) >= MIN_LENGTH:
            yield from _encode_base64(text.encode(errors="surrogateescape"))


def _encode_base64(value: bytes) -> Iterator[str]:
    """Yield the characters that are the same whatever stands around the value: its place among three bytes decides."""
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(before) + value).decode()[first:end]


def hide_secrets(secrets: Iterable[str], files: Iterable[Path]) -> list[Path]:
    """Replace `secrets` in `files`; return the files that held one. JSON and JSON lines are known by their suffixes."""
    longest_first = sorted(secrets, key=len, reverse=True)
    if not longest_first:
        return []
    known = re.compile("|".join(map(re.escape, longest_first)))
    suspect = re.compile(b"|".join(sorted({_find_unescaped(secret) for secret in longest_first})))

    anywhere = re.compile(b"|".join(re.escape(secret.encode()) for secret in longest_first))

    def clean_json(line: bytes) -> bytes:
        return _STRING.sub(lambda string: _clean_string(string[0], known), line) if suspect.search(line) else line

    def clean(line: bytes) -> bytes:
        return anywhere.sub(HIDDEN.encode(), line)

    return [path for path in files if _rewrite(path, clean_json if path.suffix in JSON_SUFFIXES else clean)]


def _find_unescaped(secret: str) -> bytes:
    """Return the longest part of a secret that no escape changes: a text without that part does not hold the secret."""
    longest: str = max(re.findall("[A-Za-z0-9]*", secret), key=len)
    return longest.encode()


def _clean_string(string: bytes, known: re.Pattern[str]) -> bytes:
    """Clean one string of JSON.

    Its text is searched: what begins with a secret's first letter may be the end of an escape.
    """
    try:
        text = json.loads(string.decode(errors="replace"), strict=False)
    except ValueError:
        return json.dumps(HIDDEN).encode()
    cleaned = known.sub(HIDDEN, text)
    return string if cleaned == text else json.dumps(cleaned).encode()


def _rewrite(path: Path, clean: Callable[[bytes], bytes]) -> bool:
    """Replace the file by its cleaned lines; return whether any of them changed."""
    with path.open("rb") as file:
        if all(clean(line) == line for line in _read_lines(file)):
            return False
        file.seek(0)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as target:
            target.writelines(map(clean, _read_lines(file)))
            os.fchmod(target.fileno(), 0o644)
    os.replace(target.name, path)
    return True


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines; one that is longer than any reader takes comes in parts, which no reader is given."""
    return iter(lambda: file.readline(MAX_LINE_BYTES), b"")
