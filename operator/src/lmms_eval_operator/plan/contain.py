"""A defect about one object is no defect about the others: what a policy asks for, object by object."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from lmms_eval_operator.actions import Action, TellDefect
from lmms_eval_operator.objects import Evaluation, Job, Pod
from lmms_eval_operator.slots import Slot

Subject = TypeVar("Subject", Evaluation, Job, Pod, Slot)


def each(policy: Callable[[Subject], Iterable[Action]], subjects: Iterable[Subject]) -> Iterator[Action]:
    """The actions for all subjects; where the policy fails over one, the action that tells so."""
    for subject in subjects:
        try:
            actions = list(policy(subject))
        except Exception as error:  # noqa: BLE001 - `TellDefect` is logged, counted and told
            yield TellDefect(policy.__name__.strip("_"), _evaluation_uid(subject), error)
        else:
            yield from actions


def _evaluation_uid(subject: Evaluation | Job | Pod | Slot) -> str:
    if isinstance(subject, Slot):
        return subject.holder.uid if subject.holder else ""
    return subject.uid if isinstance(subject, Evaluation) else subject.evaluation_uid
