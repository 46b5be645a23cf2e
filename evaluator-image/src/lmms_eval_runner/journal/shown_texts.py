"""Prompts and targets, for people who read answers while the run goes on: never worth an error."""

from collections.abc import Mapping
from typing import Any

from lmms_eval_core.journal import MAX_SHOWN


def find_prompt(request: Any) -> str | None:
    """Return the text of a request; None where it has none."""
    first = next(iter(request.args), None)
    return _clean(first) if isinstance(first, str) else None


class Targets:
    """The targets of documents, as far as their tasks tell without ado."""

    def __init__(self, tasks: Mapping[str, Any]) -> None:
        self._tasks = tasks
        self._documents: dict[str, Any] = {}

    def find(self, request: Any) -> str | None:
        """Return the target of a request's document; None where there is none.

        The task's code may draw from the random generators: the caller puts them back.
        """
        name = str(request.task_name)
        task = self._tasks.get(name)
        if task is None:
            return None
        try:
            if name not in self._documents:
                # Once: the task may have to prepare them.
                self._documents[name] = task.eval_docs_no_media
            target = task.doc_to_target(self._documents[name][request.doc_id])
        except Exception:  # noqa: BLE001 - a user's code; scoring reports its errors
            self._documents[name] = {}
            return None
        return _clean(str(target)) if isinstance(target, str | int | float | list | tuple) and target != "" else None


def cut(text: str | None) -> str | None:
    """Return the text as far as it is shown."""
    return None if text is None else text[:MAX_SHOWN]


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
