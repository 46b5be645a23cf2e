"""Which job a submission is: a new one, or one that was submitted before. Pure.

Every object created over HTTP carries the mark of the submission that made it, so that whoever finds its name taken can
tell by which submission. An Idempotency-Key makes mark and name the same on every replica and in every attempt.
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


def _read_defaults(kind: type[ResourceModel]) -> Object:
    defaults = {to_camel(name): field.default for name, field in kind.model_fields.items()}
    return {name: default for name, default in defaults.items() if default not in (None, Undefined)}


SPEC_DEFAULTS: Final = _read_defaults(EvaluationSpec)
VOLUME_DEFAULTS: Final = _read_defaults(Volume)
KEY_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, names.GROUP)


class NameTaken(Exception):
    """Another job has the requested name."""


class KeyReused(Exception):
    """The key was sent before, with another body."""


class Sender(NamedTuple):
    """Who submits, and under which Idempotency-Key if any; `fresh` is an id that no submission had before."""

    caller: str
    key: str | None
    fresh: str

    @property
    def submission_id(self) -> str:
        """The id of the submission. It depends on the caller, so that two callers may use the same key."""
        return self.fresh if self.key is None else str(uuid.uuid5(KEY_NAMESPACE, json.dumps([self.caller, self.key])))


class Identity(NamedTuple):
    """A submission: its id, the digest of what it asks for, and the name of its object."""

    submission_id: str
    digest: str
    name: str

    @property
    def mark(self) -> str:
        """What is written on the object. A digest, as not every request fits into an annotation."""
        return f"{self.submission_id}.{self.digest}"


def identify(request: EvaluateRequest, sender: Sender) -> Identity:
    """Return the identity of a valid request. Fields that have no effect make no difference."""
    content = json.dumps(request.model_dump(exclude=set(request.model_extra or {})), sort_keys=True)
    return Identity(
        sender.submission_id,
        hashlib.sha256(content.encode()).hexdigest(),
        request.name or sender.submission_id,
    )


def check_same_submission(found: Object, wanted: Identity, spec: Object) -> None:
    """Return if this submission made the object, and the object has the `spec` that it asks for.

    Raises NameTaken, KeyReused. A mark is a claim: whoever creates an object with the mark of somebody else's
    submission would have it shown to them.
    """
    mark = found["metadata"].get("annotations", {}).get(names.ANNOTATION_SUBMISSION, "")
    submission_id, _, digest = mark.partition(".")
    if submission_id != wanted.submission_id:
        raise NameTaken(wanted.name)
    if digest != wanted.digest:
        raise KeyReused(wanted.name)
    if not is_same_evaluation(found["spec"], spec):
        raise NameTaken(wanted.name)


def is_same_evaluation(one: Object, other: Object) -> bool:
    """Whether two specs ask for the same, apart from mutable fields; defaults may be written out or left out."""
    first, second = _add_defaults(one), _add_defaults(other)
    return first == second and _list_boolean_arguments(first) == _list_boolean_arguments(second)


def _add_defaults(spec: Object) -> Object:
    volumes = [VOLUME_DEFAULTS | volume for volume in spec.get("volumes", ())]
    return {name: value for name, value in (SPEC_DEFAULTS | spec | {"volumes": volumes}).items() if name not in MUTABLE}


def _list_boolean_arguments(spec: Object) -> set[str]:
    """Return the arguments that are booleans. The API server writes 1.0 as 1, and Python holds both equal to True."""
    return {key for key, value in spec.get("modelArgs", {}).items() if isinstance(value, bool)}
