"""Which job a submission is: a new one, or one that was sent before. Pure.

Every object that came over HTTP carries the mark of the submission that made it, so that whoever finds its name taken can tell
by whom. A caller's Idempotency-Key makes the mark, and the name, the same on every replica and in every try.
"""

import hashlib
import json
import uuid
from typing import Final, NamedTuple

from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUndefined as Undefined

from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.schema import ResourceModel
from lmms_eval_core.spec import MUTABLE, EvaluationSpec, Volume
from lmms_eval_core.wire import EvaluateRequest


def _defaults(kind: type[ResourceModel]) -> Object:
    return {to_camel(name): field.default for name, field in kind.model_fields.items() if field.default not in (None, Undefined)}


DEFAULTS: Final = _defaults(EvaluationSpec)
VOLUME_DEFAULTS: Final = _defaults(Volume)
KEYS: Final = uuid.uuid5(uuid.NAMESPACE_DNS, names.GROUP)


class NameTaken(Exception):
    """Another job has the name that was asked for."""


class KeyReused(Exception):
    """The key was sent before, with another body."""


class Sender(NamedTuple):
    """Who submits, under which key of their own if any; `fresh` is an id that no submission had before."""

    caller: str
    key: str | None
    fresh: str

    @property
    def submission(self) -> str:
        """The id of the submission. The caller is in it, so that two callers may use the same key."""
        return self.fresh if self.key is None else str(uuid.uuid5(KEYS, json.dumps([self.caller, self.key])))


class Identity(NamedTuple):
    """A submission: its own id, the digest of what it asks for, and the name that its object gets."""

    submission: str
    digest: str
    name: str

    @property
    def mark(self) -> str:
        """What is written on the object. The digest, as not every request fits into an annotation."""
        return f"{self.submission}.{self.digest}"


def identity(request: EvaluateRequest, sender: Sender) -> Identity:
    """The identity of an acceptable request. Fields that have no effect make no difference."""
    content = json.dumps(request.model_dump(exclude=set(request.model_extra or {})), sort_keys=True)
    return Identity(sender.submission, hashlib.sha256(content.encode()).hexdigest(), request.name or sender.submission)


def recognise(found: Object, wanted: Identity, spec: Object) -> None:
    """Passes if this object was made by this very submission, and holds the `spec` that it asks for. NameTaken, KeyReused.

    A mark is a claim. Whoever takes a name first with another one's mark on it would have his evaluation shown to the other.
    """
    submission, _, digest = found["metadata"].get("annotations", {}).get(names.ANNOTATION_SUBMISSION, "").partition(".")
    if submission != wanted.submission:
        raise NameTaken(wanted.name)
    if digest != wanted.digest:
        raise KeyReused(wanted.name)
    if not same_evaluation(found["spec"], spec):
        raise NameTaken(wanted.name)


def same_evaluation(one: Object, other: Object) -> bool:
    """Whether two specs ask for the same, apart from what may change later; also where one holds the defaults."""
    first, second = _whole(one), _whole(other)
    return first == second and _truths(first) == _truths(second)


def _whole(spec: Object) -> Object:
    volumes = [VOLUME_DEFAULTS | volume for volume in spec.get("volumes", ())]
    return {name: value for name, value in (DEFAULTS | spec | {"volumes": volumes}).items() if name not in MUTABLE}


def _truths(spec: Object) -> set[str]:
    """Arguments that are true or false. The API server writes 1.0 as 1, and Python takes them as equal: True as well."""
    return {key for key, value in spec.get("modelArgs", {}).items() if isinstance(value, bool)}
