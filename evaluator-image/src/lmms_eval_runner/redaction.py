"""Which values of the environment are secrets of this run. Pure; the hiding itself is `lmms_eval_core.redact`."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from lmms_eval_core.redact import Redactor

# Hiding a shorter value would hide half of the log with it.
MIN_LENGTH: Final = 6

_SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$")


def redactor(environ: Mapping[str, str], names: Iterable[str]) -> Redactor:
    """Hides the values of the variables `names`, and of those whose own name says that they hold a secret."""
    chosen = set(names) | {name for name in environ if _SECRET_NAME.search(name)}
    return Redactor({form for name in chosen for form in _forms(environ.get(name, ""))})


def _forms(value: str) -> Iterator[str]:
    """The value line by line, since logs are read by lines; plain, and as JSON and URLs write it."""
    for line in value.splitlines():
        for form in (line.strip(), json.dumps(line.strip())[1:-1], quote(line.strip(), safe="")):
            if len(form) >= MIN_LENGTH:
                yield form
