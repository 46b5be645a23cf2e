"""A catalogue as callers ask for it: lists made in advance, searches, and what is odd about a request. Pure.

`catalogue` reads it from the store; GET /tasks and GET /models answer with it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from lmms_eval_core.catalogue import Catalogue, KnownModel, KnownTask
from lmms_eval_core.json_text import parse_excess
from lmms_eval_core.wire import EvaluateRequest, ListedModel, ListedTask

# 0.7.3 knows 2,100.
MAX_ENTRIES: Final = 20_000
# Names that are spoken of, letters of such a name, and names for which a better one is looked for: each takes milliseconds.
MAX_NAMED: Final = 20
MAX_LETTERS: Final = 80
MAX_GUESSES: Final = 3
# Of more names, none is guessed.
MAX_GUESSED: Final = 4000
WILDCARDS: Final = frozenset("*?[")


class Answer(NamedTuple):
    """The body of an answer, and what tells it from any other."""

    body: bytes
    etag: str


class Entry(NamedTuple):
    """A task or a model: its name and its details as JSON, in which names it is looked for, why it cannot be used."""

    name: bytes
    details: bytes
    names: tuple[str, ...]
    unavailable: str | None = None
    needs_remote_code: bool = False


class Index:
    """One catalogue, ready to be answered from: two thousand names are 50 KB, their details 500.

    It is made in the worker process, and holds no more than is needed here.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._tasks = [_task_entry(task) for task in catalogue.tasks]
        self._models = [_model_entry(model) for model in catalogue.models]
        self._task_names = frozenset(name for entry in self._tasks for name in entry.names)
        self._by_name = {name: entry for entry in self._models for name in entry.names}
        self._model_names = frozenset(self._by_name)
        self._versions = _json(catalogue.versions)
        self._all_tasks = {details: self._task_answer(self._tasks, details=details) for details in (False, True)}
        self._all_models = {details: self._model_answer(self._models, details=details) for details in (False, True)}

    def tasks(self, *, q: str = "", details: bool = False) -> Answer:
        """Tasks whose names hold `q`, in whatever case."""
        return self._task_answer(_matching(self._tasks, q), details=details) if q else self._all_tasks[details]

    def models(self, *, q: str = "", details: bool = False) -> Answer:
        """Models of whose names one holds `q`, in whatever case."""
        return self._model_answer(_matching(self._models, q), details=details) if q else self._all_models[details]

    def _task_answer(self, tasks: Sequence[Entry], *, details: bool) -> Answer:
        return _answer({"tasks": _listed(tasks, details=details), **self._appendix(details)})

    def _model_answer(self, models: Sequence[Entry], *, details: bool) -> Answer:
        unavailable = _json({model.names[0]: model.unavailable for model in models if model.unavailable})
        needing = _json([model.names[0] for model in models if model.needs_remote_code])
        known = {"unavailable": unavailable, "needs_remote_code": needing}
        return _answer({"models": _listed(models, details=details), **known, **self._appendix(details)})

    def _appendix(self, details: bool) -> dict[str, bytes]:
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


def index_of(content: bytes) -> Index:
    """The index of a catalogue file; ValueError for what is none, or is larger than anybody may read."""
    if excess := parse_excess(content):
        raise ValueError(f"the catalogue {excess}")
    try:
        catalogue = Catalogue.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{error.error_count()} errors in it") from None
    if len(catalogue.tasks) + len(catalogue.models) > MAX_ENTRIES:
        raise ValueError(f"the catalogue has more than {MAX_ENTRIES} names")
    return Index(catalogue)


def answer(content: dict[str, Any]) -> Answer:
    """`content` as the body of an answer."""
    return _answer({key: _json(value) for key, value in content.items()})


def _answer(members: dict[str, bytes]) -> Answer:
    body = b"{" + b",".join(_json(key) + b":" + value for key, value in members.items()) + b"}"
    return Answer(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _task_entry(task: KnownTask) -> Entry:
    return Entry(_json(task.name), _json(ListedTask(**dict(task)).model_dump(mode="json")), (task.name,))


def _model_entry(model: KnownModel) -> Entry:
    listed = ListedModel(
        name=model.name,
        aliases=model.aliases,
        available=not model.unavailable,
        reason=model.unavailable,
        needs_remote_code=model.needs_remote_code,
    )
    names = (model.name, *model.aliases)
    return Entry(_json(model.name), _json(listed.model_dump()), names, model.unavailable, model.needs_remote_code)


def _listed(entries: Sequence[Entry], *, details: bool) -> bytes:
    return b"[" + b",".join([entry.details if details else entry.name for entry in entries]) + b"]"


def _matching(entries: Sequence[Entry], part: str) -> list[Entry]:
    wanted = part.casefold()
    return [entry for entry in entries if any(wanted in name.casefold() for name in entry.names)]


# A training loop sends the same names again and again.
@lru_cache(maxsize=1024)
def _guess(name: str, known: frozenset[str]) -> str:
    if len(name) > MAX_LETTERS or len(known) > MAX_GUESSED:
        return ""
    found = get_close_matches(name, [other for other in known if len(other) <= MAX_LETTERS], n=1, cutoff=0.75)
    return f" Did you mean {found[0]}?" if found else ""


def _short(name: str) -> str:
    return repr(name[:MAX_LETTERS])
