"""Which values of the environment are secrets of this run, and the forms that text takes on its way. Pure.

The log is hidden by `lmms_eval_core.redact`, the files by `clean_files`.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

# Hiding a shorter value would hide half of the log with it.
MIN_LENGTH: Final = 6

_SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")


def secrets(environ: Mapping[str, str], names: Iterable[str]) -> set[str]:
    """The values of the variables `names`, and of those whose own name says that they hold a secret, in all their forms."""
    chosen = set(names) | {name for name in environ if _SECRET_NAME.search(name)}
    forms = {form for name in chosen for form in _forms(environ.get(name, "").strip())}
    return {form for form in forms if len(form) >= MIN_LENGTH}


def _forms(value: str) -> Iterator[str]:
    """The value line by line, since logs are read by lines; and in Base64, which knows no lines, as a whole too."""
    lines = [line.strip() for line in value.splitlines()]
    for line in lines:
        yield from (line, repr(line)[1:-1], json.dumps(line)[1:-1], json.dumps(line, ensure_ascii=False)[1:-1])
        yield from (quote(line, safe=""), quote(line), quote_plus(line))
    for text in {value, *lines}:
        if len(text) >= MIN_LENGTH:
            yield from _in_base64(text.encode(errors="surrogateescape"))


def _in_base64(value: bytes) -> Iterator[str]:
    """The characters that are the same whatever stands before and after the value: its place among three bytes decides."""
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(value)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(before) + value).decode()[first:end]
