"""Applies a policy object by object, so that a defect about one object is no defect about the others."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from lmms_eval_operator.actions import Action, TellDefect
from lmms_eval_operator.objects import AttemptJob, Evaluation, Pod
from lmms_eval_operator.slots import Slot

Subject = TypeVar("Subject", Evaluation, AttemptJob, Pod, Slot)


def apply_to_each(policy: Callable[[Subject], Iterable[Action]], subjects: Iterable[Subject]) -> Iterator[Action]:
    """Yield the actions for all subjects; where the policy fails over one, `TellDefect` in their place."""
    for subject in subjects:
        try:
            actions = list(policy(subject))
        except Exception as error:  # noqa: BLE001 - `TellDefect` is logged, counted and told
            yield TellDefect(policy.__name__.strip("_"), _find_evaluation_uid(subject), error)
        else:
            yield from actions


def _find_evaluation_uid(subject: Evaluation | AttemptJob | Pod | Slot) -> str:
    if isinstance(subject, Slot):
        return subject.holder.uid if subject.holder else ""
    return subject.uid if isinstance(subject, Evaluation) else subject.evaluation_uid
