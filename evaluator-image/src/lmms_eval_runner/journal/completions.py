"""For adapters that speak to an endpoint by OpenAI's client: every completion is kept when it arrives, and given again
after a restart. It passes through the adapter as the first time: counts of tokens and calls of tools included.

Their calls run dry at the end, so that their chunks are large; this makes what is inside a chunk last.
"""

import inspect
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from lmms_eval_core.journal import CompletionLine

from .identity import hash_json
from .run_journal import RunJournal


class CompletionTap:
    """Stands between an adapter and the `create` of its client.

    Equal requests are told apart by their number: completions that no answer of an earlier attempt was made of are
    given in their order.
    """

    def __init__(self, journal: RunJournal, attempt: int, rank: int) -> None:
        self._journal, self._attempt, self._rank = journal, attempt, rank
        self._lock = threading.Lock()
        self._known: dict[str, deque[CompletionLine]] | None = None
        self._count = 0

    def attach(self, adapter: Any) -> bool:
        """Take the client's place; return whether the adapter has one of this kind."""
        completions = getattr(getattr(getattr(adapter, "client", None), "chat", None), "completions", None)
        original = getattr(completions, "create", None)
        if completions is None or not callable(original):
            return False
        make = self._make_async if inspect.iscoroutinefunction(inspect.unwrap(original)) else self._make_sync
        completions.create = make(original)
        return True

    def _make_sync(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def create(*args: Any, **payload: Any) -> Any:
            key, known = self._look_up(args, payload)
            return known if known is not None else self._keep(key, original(*args, **payload))

        return create

    def _make_async(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def create(*args: Any, **payload: Any) -> Any:
            key, known = self._look_up(args, payload)
            return known if known is not None else self._keep(key, await original(*args, **payload))

        return create

    def _look_up(self, args: tuple[Any, ...], payload: dict[str, Any]) -> tuple[str, Any]:
        """Return the hash of a request, empty for one that is not kept, and its completion where it is known."""
        if self._journal.off or args or payload.get("stream"):
            return "", None
        try:
            key = hash_json(payload)
        except (TypeError, ValueError, RecursionError):
            return "", None
        with self._lock:
            line = self._take(key)
            if line is None:
                return key, None
            # Recorded again, without its content: whatever is made of it is made of it here.
            self._journal.write_completion(CompletionLine(key=line.key, response={}))
        return key, _parse(line.response)

    def _take(self, key: str) -> CompletionLine | None:
        if self._known is None:
            self._known = defaultdict(deque)
            for line in self._journal.earlier.completions:
                self._known[line.key.partition(".")[0]].append(line)
        return self._known[key].popleft() if key in self._known and self._known[key] else None

    def _keep(self, key: str, response: Any) -> Any:
        content = _dump(response) if key else None
        if content is not None:
            with self._lock:
                line = CompletionLine(key=f"{key}.{self._attempt}.{self._rank}.{self._count}", response=content)
                self._count += 1
                self._journal.write_completion(line)
        return response


def _dump(response: Any) -> dict[str, Any] | None:
    """Return a completion as JSON; None for what is none, or does not come back as it was."""
    if type(response).__name__ != "ChatCompletion":
        return None
    try:
        content: dict[str, Any] = response.model_dump(mode="json")
        return (
            content
            if _parse(CompletionLine.model_validate_json(CompletionLine(key="k", response=content).to_json()).response)
            == response
            else None
        )
    except Exception:  # noqa: BLE001 - a client's own types; this completion is asked for again
        return None


def _parse(content: dict[str, Any]) -> Any:
    from openai.types.chat import ChatCompletion

    return ChatCompletion.model_validate(content)
