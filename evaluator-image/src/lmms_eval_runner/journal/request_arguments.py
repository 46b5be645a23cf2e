"""What adapters write into the arguments of requests. With repeats all samples of a document share one dictionary, and
the next sample is asked for with what the one before has left there.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from . import upstream
from .packing import Unpackable, pack, unpack


class RequestArguments:
    """The dictionaries among the arguments of a call's requests, as they were when it began."""

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = requests
        self._began = _copy_arguments(requests)
        self._shared = _find_shared_arguments(requests)

    def undo(self) -> None:
        """Put back what the adapter has written."""
        for argument, content in self._began:
            argument.clear()
            argument.update(content)

    def pack_shared(self, places: list[int]) -> dict[int, Any]:
        """Return the shared arguments of these requests as they are now, packed, by identity."""
        if not self._shared:
            return {}
        shared = [
            argument for place in places for argument in self._requests[place].args if id(argument) in self._shared
        ]
        return {id(argument): _pack_or_none(argument) for argument in shared}

    def find_written(self, place: int, before: dict[int, Any]) -> list[Any]:
        """Return those of a request that differ from what `pack_shared` gave, by position; raises Unpackable."""
        return [
            [position, pack(argument)]
            for position, argument in enumerate(self._requests[place].args if before else ())
            if id(argument) in before and _pack_or_none(argument) != before[id(argument)]
        ]

    def rewrite(self, place: int, written: Sequence[Any] | None) -> None:
        """Write what an earlier attempt has left in the arguments of a request."""
        for position, packed in written or ():
            _rewrite(self._requests[place].args[position], packed)


def _copy_arguments(requests: Sequence[Any]) -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    found = {id(argument): argument for request in requests for argument in request.args if isinstance(argument, dict)}
    return [(argument, dict(argument)) for argument in found.values()]


def _find_shared_arguments(requests: Sequence[Any]) -> frozenset[int]:
    """Return the ids of dictionaries that more than one request has."""
    counts = Counter(id(argument) for request in requests for argument in request.args if isinstance(argument, dict))
    return frozenset(found for found, count in counts.items() if count > 1)


def _pack_or_none(argument: Any) -> Any:
    try:
        return pack(argument)
    except Unpackable:
        return None


def _rewrite(argument: Any, packed: Any) -> None:
    try:
        content = unpack(packed, upstream.make_result)
    except Unpackable:
        return
    if isinstance(argument, dict) and isinstance(content, dict):
        argument.clear()
        argument.update(content)
