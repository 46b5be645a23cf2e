"""Keys of requests, and of batches: what is asked, and how often it was asked before. Pure.

Where a request stands never counts: the order of tasks may differ between nodes.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

_LENGTH: Final = 20
_DATA: Final = (str, int, float, bool, list, dict, tuple)


class Unkeyable(Exception):
    """A request that cannot be told from others."""


class RequestKeys:
    """The keys of all requests of a process, each with its number among those that ask the same."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def make(self, method: str, requests: Sequence[Any]) -> list[str]:
        """Return the keys of the requests of one call; before the adapter runs, which may write into them."""
        # An evaluation with repeats asks the same object again and again.
        bases: dict[int, str] = {}
        keys = []
        for request in requests:
            base = bases.get(id(request)) or bases.setdefault(id(request), _hash_request(method, request))
            keys.append(f"{base}.{self._seen[base]}")
            self._seen[base] += 1
        return keys


def make_batch_id(keys: Iterable[str]) -> str:
    """Return the id of the batch of the requests with these keys, in this order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:_LENGTH]


def hash_json(value: Any) -> str:
    """Return a hash of what is data in `value`; what is none counts by its type alone."""
    text = json.dumps(value, sort_keys=True, default=_describe)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def _hash_request(method: str, request: Any) -> str:
    # What else there is are functions of the task, which the fingerprint knows.
    data = [argument for argument in request.args if isinstance(argument, _DATA)]
    try:
        return hash_json([method, request.task_name, request.doc_id, request.idx, data])
    except (TypeError, ValueError, RecursionError) as error:
        raise Unkeyable(f"a request of {request.task_name} has arguments that are no data: {error}"[:300]) from error


def _describe(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return type(value).__name__
