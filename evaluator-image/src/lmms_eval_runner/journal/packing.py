"""Answers and records as JSON that gives them back to the last bit. Pure.

None, booleans, texts and integers stay what they are. All else is a list that begins with a tag:

    ["f", "0.1"]          a float, by its repr        ["l", [...]]             a list
    ["s", "..."]          a text with surrogates      ["t", [...]]             a tuple
    ["i", "0x..."]        an integer of many digits   ["d", [[key, value]]]    a dictionary
                                                      ["g", text, counts]      a text with its counts of tokens
"""

from collections.abc import Callable
from typing import Any, Final

from lmms_eval_core.journal import JournalAnswer

# Readers of JSON give up at some depth; answers have two or three levels.
MAX_DEPTH: Final = 20
_LARGEST: Final = 2**63
_COUNTS: Final = ("input_tokens", "output_tokens", "reasoning_tokens")

MakeResult = Callable[[Any, list[Any] | None], Any]


class Unpackable(Exception):
    """A value that would not come back as it was, or a packed one that nothing was packed into."""


def pack(value: Any, depth: int = 0) -> Any:
    """Return `value` as JSON; raises Unpackable."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return value if _is_encodable(value) else ["s", value.encode("utf-8", "surrogatepass").decode("latin-1")]
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else ["i", hex(value)]
    if kind is float:
        return ["f", repr(value)]
    if depth >= MAX_DEPTH:
        raise Unpackable(f"an answer nested deeper than {MAX_DEPTH} levels")
    if kind is list or kind is tuple:
        return ["l" if kind is list else "t", [pack(part, depth + 1) for part in value]]
    if kind is dict:
        return ["d", [[pack(key, depth + 1), pack(part, depth + 1)] for key, part in value.items()]]
    if is_result(value):
        return ["g", pack(value.text, depth + 1), pack(read_counts(value), depth + 1)]
    raise Unpackable(f"an answer of type {kind.__name__}")


def unpack(packed: Any, make_result: MakeResult) -> Any:
    """Return what was packed; `make_result` makes a text with counts. Raises Unpackable."""
    if not isinstance(packed, list):
        return packed
    try:
        tag, content = packed[0], packed[1]
        if tag == "f":
            return float(content)
        if tag == "s":
            return content.encode("latin-1").decode("utf-8", "surrogatepass")
        if tag == "i":
            return int(content, 16)
        if tag in ("l", "t"):
            return (list if tag == "l" else tuple)(unpack(part, make_result) for part in content)
        if tag == "d":
            return {unpack(key, make_result): unpack(part, make_result) for key, part in content}
        if tag == "g":
            return make_result(unpack(content, make_result), unpack(packed[2], make_result))
    except (AttributeError, IndexError, RecursionError, TypeError, ValueError) as error:
        raise Unpackable(f"no packed value: {error!r}"[:200]) from error
    raise Unpackable(f"an unknown tag: {tag!r}"[:200])


def pack_answer(answer: Any) -> dict[str, Any]:
    """Return the fields of a `JournalAnswer` that hold an answer; raises Unpackable."""
    if type(answer) is str and _is_encodable(answer):
        return {"text": answer}
    if is_result(answer) and type(answer.text) is str and _is_encodable(answer.text):
        counts = read_counts(answer)
        if counts is None or all(count is None or _is_small(count) for count in counts):
            return {"text": answer.text, "tokens": None if counts is None else tuple(counts)}
    return {"packed": pack(answer)}


def unpack_answer(answer: JournalAnswer, make_result: MakeResult) -> Any:
    """Return the answer as the adapter gave it; raises Unpackable."""
    if "packed" in answer.model_fields_set:
        return unpack(answer.packed, make_result)
    if answer.text is None:
        raise Unpackable("an answer without a text")
    if "tokens" not in answer.model_fields_set:
        return answer.text
    return make_result(answer.text, None if answer.tokens is None else list(answer.tokens))


def pack_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of throughput or usage as an object of JSON; raises Unpackable."""
    return {"j": pack(record)}


def unpack_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record; raises Unpackable."""
    found = unpack(record.get("j"), _refuse_result)
    if not isinstance(found, dict):
        raise Unpackable("a record that is no dictionary")
    return found


def is_result(value: Any) -> bool:
    """Return whether this is lmms-eval's text with counts of tokens."""
    return type(value).__name__ == "GenerationResult" and hasattr(value, "text") and hasattr(value, "token_counts")


def read_counts(result: Any) -> list[Any] | None:
    """Return the counts of tokens: of the input, of the output, and of the reasoning."""
    counts = result.token_counts
    return None if counts is None else [getattr(counts, name) for name in _COUNTS]


def _refuse_result(text: Any, counts: Any) -> Any:
    raise Unpackable("a record with a text of the model")


def _is_small(count: Any) -> bool:
    return type(count) is int and -_LARGEST <= count < _LARGEST


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
