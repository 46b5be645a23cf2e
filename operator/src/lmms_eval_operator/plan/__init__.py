"""What to do next, as a chain of pure policies over the view.

    stop             what is not wanted any more: cancelled, deleted
    stop_on_timeout  what has used up the time that its user gave it
    finish           the truth about running attempts, up to their end
    recover          slots whose attempt is over, Jobs and pods that belong to no attempt
    start            free slots to the first of the queue, and every start that is under way
    expire_jobs      Jobs that have done their work, when there is nothing else to do

Each action is one write; the reconciler plans again
after each round, so a start is four rounds, and a start that a crash cut short is carried on by the same policy.
"""

from itertools import chain

from lmms_eval_operator.actions import Action, LookAgain, identify
from lmms_eval_operator.clock import Now
from lmms_eval_operator.plan.finish import finish
from lmms_eval_operator.plan.recover import expire_jobs, recover
from lmms_eval_operator.plan.start import start
from lmms_eval_operator.plan.stop import stop, stop_on_timeout
from lmms_eval_operator.view import View

POLICIES = (stop, stop_on_timeout, finish, recover, start)


def plan(view: View, now: Now) -> list[Action]:
    """Return the actions that the view asks for; they are for `now`."""
    actions = list(chain.from_iterable(policy(view, now) for policy in POLICIES))
    return actions if any(is_due(view, action, now) for action in actions) else [*actions, *expire_jobs(view, now)]


def is_due(view: View, action: Action, now: Now) -> bool:
    """Return whether there is something to do now: what failed is tried again later."""
    return not isinstance(action, LookAgain) and not view.failures.seconds_until_due(identify(action), now.monotonic)
