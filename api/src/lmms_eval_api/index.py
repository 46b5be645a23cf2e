"""A catalogue as callers ask for it: lists made in advance, searches, and what is odd about a request. Pure.

`catalogue` reads it from the store; GET /tasks and GET /models answer with it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

from lmms_eval_core.catalogue import Catalogue, KnownModel, KnownTask
from lmms_eval_core.wire import EvaluateRequest, ListedModel, ListedTask

# Names that are spoken of, letters of such a name, and names for which a better one is looked for: each takes milliseconds.
MAX_NAMED: Final = 20
MAX_LETTERS: Final = 80
MAX_GUESSES: Final = 3
WILDCARDS: Final = frozenset("*?[")


class Answer(NamedTuple):
    """The body of an answer, and what tells it from any other."""

    body: bytes
    etag: str


class Index:
    """One catalogue. Its answers without a search are made once: two thousand names are 50 KB, their details 500."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._tasks = catalogue.tasks
        self._models = catalogue.models
        self._task_names = frozenset(task.name for task in catalogue.tasks)
        self._by_name = {name: model for model in catalogue.models for name in (model.name, *model.aliases)}
        self._model_names = frozenset(self._by_name)
        self._versions = catalogue.versions
        self._all_tasks = {details: self._task_answer(self._tasks, details=details) for details in (False, True)}
        self._all_models = {details: self._model_answer(self._models, details=details) for details in (False, True)}

    def tasks(self, *, q: str = "", details: bool = False) -> Answer:
        """Tasks whose names hold `q`, in whatever case."""
        if not q:
            return self._all_tasks[details]
        return self._task_answer([task for task in self._tasks if _holds(q, task.name)], details=details)

    def models(self, *, q: str = "", details: bool = False) -> Answer:
        """Models of whose names one holds `q`, in whatever case."""
        if not q:
            return self._all_models[details]
        return self._model_answer([model for model in self._models if _holds(q, model.name, *model.aliases)], details=details)

    def _task_answer(self, tasks: Sequence[KnownTask], *, details: bool) -> Answer:
        listed = [_listed_task(task) for task in tasks] if details else [task.name for task in tasks]
        return answer({"tasks": listed, **self._appendix(details)})

    def _model_answer(self, models: Sequence[KnownModel], *, details: bool) -> Answer:
        listed = [_listed_model(model) for model in models] if details else [model.name for model in models]
        unavailable = {model.name: model.unavailable for model in models if model.unavailable}
        needing = [model.name for model in models if model.needs_remote_code]
        found = {"models": listed, "unavailable": unavailable, "needs_remote_code": needing}
        return answer(found | self._appendix(details))

    def _appendix(self, details: bool) -> dict[str, Any]:
        return {"versions": self._versions} if details else {}

    def warnings(self, request: EvaluateRequest) -> list[str]:
        """What of a request the image does not know, as far as its own image and tasks are asked for."""
        if request.image:
            return []
        return [*self._model_warnings(request.model), *([] if request.include_path else self._task_warnings(request.tasks))]

    def _model_warnings(self, name: str) -> Iterator[str]:
        known = self._by_name.get(name)
        if known is None:
            guess = _guess(name, self._model_names)
            yield f"The evaluator image knows no model {_short(name)}.{guess} GET /models lists those it knows."
        elif known.unavailable:
            yield f"The evaluator image cannot use the model {_short(name)}. {known.unavailable}"

    def _task_warnings(self, tasks: Iterable[str]) -> Iterator[str]:
        named = (name.strip() for entry in tasks for name in entry.split(","))
        unknown = [name for name in dict.fromkeys(named) if name and name not in self._task_names and not WILDCARDS & set(name)]
        for number, name in enumerate(unknown[:MAX_NAMED]):
            guess = _guess(name, self._task_names) if number < MAX_GUESSES else ""
            yield f"The evaluator image knows no task {_short(name)}.{guess} GET /tasks lists those it knows."
        if len(unknown) > MAX_NAMED:
            yield f"Nor does it know {len(unknown) - MAX_NAMED} more."


def answer(content: dict[str, Any]) -> Answer:
    """`content` as the body of an answer."""
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return Answer(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _listed_task(task: KnownTask) -> dict[str, Any]:
    return ListedTask(**dict(task)).model_dump(mode="json")


def _listed_model(model: KnownModel) -> dict[str, Any]:
    return ListedModel(
        name=model.name,
        aliases=model.aliases,
        available=not model.unavailable,
        reason=model.unavailable,
        needs_remote_code=model.needs_remote_code,
    ).model_dump()


def _holds(part: str, *names: str) -> bool:
    return any(part.casefold() in name.casefold() for name in names)


# A training loop sends the same names again and again.
@lru_cache(maxsize=1024)
def _guess(name: str, known: frozenset[str]) -> str:
    found = get_close_matches(name, known, n=1, cutoff=0.75) if len(name) <= MAX_LETTERS else []
    return f" Did you mean {found[0]}?" if found else ""


def _short(name: str) -> str:
    return repr(name[:MAX_LETTERS])
