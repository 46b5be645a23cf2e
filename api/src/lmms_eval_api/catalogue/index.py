"""A catalogue as callers ask for it: lists made in advance, searches, and warnings about a request. Pure.

`reader` reads the catalogue from the store; GET /tasks and GET /models answer from the index.
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

# lmms-eval 0.7.3 knows 2,100.
MAX_ENTRIES: Final = 20_000
# Names that are warned about, letters of such a name, and names for which a similar one is searched, which takes
# milliseconds each.
MAX_NAMED: Final = 20
MAX_LETTERS: Final = 80
MAX_GUESSES: Final = 3
# Among more names, no similar one is searched.
MAX_GUESSED: Final = 4000
WILDCARDS: Final = frozenset("*?[")


class CatalogueResponse(NamedTuple):
    """The body of a response, and its ETag."""

    body: bytes
    etag: str


class IndexEntry(NamedTuple):
    """A task or a model: its name and its details as JSON, the names that find it, and why it cannot be used."""

    name: bytes
    details: bytes
    names: tuple[str, ...]
    unavailable: str | None = None
    needs_remote_code: bool = False


class Index:
    """One catalogue, ready to answer from: two thousand names are 50 KB, their details 500 KB.

    It is made in the worker process, and holds no more than it needs.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._tasks = [_make_task_entry(task) for task in catalogue.tasks]
        self._models = [_make_model_entry(model) for model in catalogue.models]
        self._task_names = frozenset(name for entry in self._tasks for name in entry.names)
        self._by_name = {name: entry for entry in self._models for name in entry.names}
        self._model_names = frozenset(self._by_name)
        self._versions = _encode(catalogue.versions)
        both = (False, True)
        self._all_tasks = {details: self._make_task_response(self._tasks, details=details) for details in both}
        self._all_models = {details: self._make_model_response(self._models, details=details) for details in both}

    def list_tasks(self, *, q: str = "", details: bool = False) -> CatalogueResponse:
        """Return the tasks whose names contain `q`, in any case."""
        if not q:
            return self._all_tasks[details]
        return self._make_task_response(_find_matching(self._tasks, q), details=details)

    def list_models(self, *, q: str = "", details: bool = False) -> CatalogueResponse:
        """Return the models of which a name contains `q`, in any case."""
        if not q:
            return self._all_models[details]
        return self._make_model_response(_find_matching(self._models, q), details=details)

    def _make_task_response(self, tasks: Sequence[IndexEntry], *, details: bool) -> CatalogueResponse:
        return _join_members({"tasks": _join_entries(tasks, details=details), **self._make_appendix(details)})

    def _make_model_response(self, models: Sequence[IndexEntry], *, details: bool) -> CatalogueResponse:
        unavailable = _encode({model.names[0]: model.unavailable for model in models if model.unavailable})
        needing = _encode([model.names[0] for model in models if model.needs_remote_code])
        listed = _join_entries(models, details=details)
        members = {"models": listed, "unavailable": unavailable, "needs_remote_code": needing}
        return _join_members({**members, **self._make_appendix(details)})

    def _make_appendix(self, details: bool) -> dict[str, bytes]:
        return {"versions": self._versions} if details else {}

    def list_warnings(self, request: EvaluateRequest) -> list[str]:
        """Return what the image does not know of a request, unless that brings an image or tasks of its own."""
        if request.image:
            return []
        of_tasks = [] if request.include_path else self._list_task_warnings(request.tasks)
        return [*self._list_model_warnings(request.model), *of_tasks]

    def _list_model_warnings(self, name: str) -> Iterator[str]:
        known = self._by_name.get(name)
        if known is None:
            guess = _guess_name(name, self._model_names)
            yield f"The evaluator image knows no model {_shorten(name)}.{guess} GET /models lists those it knows."
        elif known.unavailable:
            yield f"The evaluator image cannot use the model {_shorten(name)}. {known.unavailable}"

    def _list_task_warnings(self, tasks: Iterable[str]) -> Iterator[str]:
        named = (name.strip() for entry in tasks for name in entry.split(","))
        distinct = [name for name in dict.fromkeys(named) if name and not WILDCARDS & set(name)]
        unknown = [name for name in distinct if name not in self._task_names]
        for number, name in enumerate(unknown[:MAX_NAMED]):
            guess = _guess_name(name, self._task_names) if number < MAX_GUESSES else ""
            yield f"The evaluator image knows no task {_shorten(name)}.{guess} GET /tasks lists those it knows."
        if len(unknown) > MAX_NAMED:
            yield f"Nor does it know {len(unknown) - MAX_NAMED} more."


def make_index(content: bytes) -> Index:
    """Return the index of a catalogue file. Raises ValueError if it is invalid, or too large."""
    if excess := parse_excess(content):
        raise ValueError(f"the catalogue {excess}")
    try:
        catalogue = Catalogue.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{error.error_count()} errors in it") from None
    if len(catalogue.tasks) + len(catalogue.models) > MAX_ENTRIES:
        raise ValueError(f"the catalogue has more than {MAX_ENTRIES} names")
    return Index(catalogue)


def encode_response(content: dict[str, Any]) -> CatalogueResponse:
    """Return `content` as a response."""
    return _join_members({key: _encode(value) for key, value in content.items()})


def _join_members(members: dict[str, bytes]) -> CatalogueResponse:
    body = b"{" + b",".join(_encode(key) + b":" + value for key, value in members.items()) + b"}"
    return CatalogueResponse(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _make_task_entry(task: KnownTask) -> IndexEntry:
    return IndexEntry(_encode(task.name), _encode(ListedTask(**dict(task)).model_dump(mode="json")), (task.name,))


def _make_model_entry(model: KnownModel) -> IndexEntry:
    listed = ListedModel(
        name=model.name,
        aliases=model.aliases,
        available=not model.unavailable,
        reason=model.unavailable,
        needs_remote_code=model.needs_remote_code,
    )
    names = (model.name, *model.aliases)
    details = _encode(listed.model_dump())
    return IndexEntry(_encode(model.name), details, names, model.unavailable, model.needs_remote_code)


def _join_entries(entries: Sequence[IndexEntry], *, details: bool) -> bytes:
    return b"[" + b",".join([entry.details if details else entry.name for entry in entries]) + b"]"


def _find_matching(entries: Sequence[IndexEntry], part: str) -> list[IndexEntry]:
    wanted = part.casefold()
    return [entry for entry in entries if any(wanted in name.casefold() for name in entry.names)]


# Cached, as a training loop sends the same names again and again.
@lru_cache(maxsize=1024)
def _guess_name(name: str, known: frozenset[str]) -> str:
    if len(name) > MAX_LETTERS or len(known) > MAX_GUESSED:
        return ""
    found = get_close_matches(name, [other for other in known if len(other) <= MAX_LETTERS], n=1, cutoff=0.75)
    return f" Did you mean {found[0]}?" if found else ""


def _shorten(name: str) -> str:
    return repr(name[:MAX_LETTERS])
