"""Search texts for planted secrets, in the forms that text takes on its way."""

import json
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

# Nothing shorter can be looked for.
HEAD = 6


def make_secret(kind: str = "planted") -> str:
    """Return a random secret of letters that need no quoting anywhere."""
    return f"{kind}{secrets.token_hex(12)}"


def find_leaks(planted: Mapping[str, str], out: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the kinds of `planted` (secrets by kind) that occur in `out` (texts by place), with the places."""
    looked_for = {kind: list_forms(value) for kind, value in planted.items()}
    places: dict[str, set[str]] = {}
    for place, text in out.items():
        begun = _beginnings({form[:HEAD] for every in looked_for.values() for form in every}, text)
        for kind, every in looked_for.items():
            if any(form[:HEAD] in begun and form in text for form in every):
                places.setdefault(kind, set()).add(place)
    return places


def _beginnings(heads: set[str], text: str) -> set[str]:
    """Return the heads that occur in the text, in one pass instead of one for each of thousands of forms."""
    return {head for start in range(len(text)) if (head := text[start : start + HEAD]) in heads}


def list_forms(value: str) -> set[str]:
    """List the value plain, escaped, encoded and in upper case; in Base64 also inside something longer."""
    escaped = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    twice = {json.dumps(form)[1:-1] for form in escaped}
    quoted = {quote(value), quote(value, safe=""), quote_plus(value)}
    return escaped | twice | quoted | {value.upper(), value.encode().hex()} | set(_in_base64(value.encode()))


def _in_base64(value: bytes) -> Iterator[str]:
    # Three bytes are four characters: whatever is around, those of the whole groups inside are always the same.
    for skipped in range(3):
        inside = value[skipped:]
        whole = inside[: len(inside) // 3 * 3]
        yield b64encode(whole).decode()
        yield urlsafe_b64encode(whole).decode()
