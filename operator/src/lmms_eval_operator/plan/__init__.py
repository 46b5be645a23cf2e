"""What to do next, as a chain of pure policies over the view: one file each.

    stop      what is not wanted any more: cancelled, deleted
    timeouts  what has used up the time that its user gave it
    finish    the truth about running attempts, up to their end
    recover   slots whose attempt is over, Jobs that nobody stands behind
    start     free slots to the first of the queue, and every start that is under way
    tidy      Jobs that have done their work, when there is nothing else to do

Each action is one write; the reconciler plans again
after each round, so a start is four rounds, and a start that a crash cut short is carried on by the same policy.
"""

from itertools import chain

from lmms_eval_operator.actions import Action, LookAgain, key
from lmms_eval_operator.clock import Now
from lmms_eval_operator.plan.finish import finish
from lmms_eval_operator.plan.recover import recover
from lmms_eval_operator.plan.start import start
from lmms_eval_operator.plan.stop import stop
from lmms_eval_operator.plan.tidy import tidy
from lmms_eval_operator.plan.timeouts import timeouts
from lmms_eval_operator.view import View

POLICIES = (stop, timeouts, finish, recover, start)


def plan(view: View, now: Now) -> list[Action]:
    """The actions that the view asks for; they are for `now`."""
    actions = list(chain.from_iterable(policy(view, now) for policy in POLICIES))
    return actions if any(due(view, action, now) for action in actions) else [*actions, *tidy(view, now)]


def due(view: View, action: Action, now: Now) -> bool:
    """Whether there is something to do now: what failed is tried again later."""
    return not isinstance(action, LookAgain) and not view.failures.due_in(key(action), now.monotonic)
