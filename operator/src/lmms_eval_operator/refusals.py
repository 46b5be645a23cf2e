"""Jobs that the cluster refused to take, by a policy, a quota or a webhook that is away. What to do about it, without I/O.

One that is refused waits by itself, longer each time, and the next one has its turn. Where different specs are refused one after
the other it is not them: then nothing is tried for a while, and after that one at a time, until a Job is taken.
"""

import hashlib
import json
from collections.abc import Container
from typing import Final, NamedTuple

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import Object
from lmms_eval_core.spec import MUTABLE
from lmms_eval_operator.action_failures import doubling

FIRST_WAIT_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 300.0
SEVERAL_SPECS: Final = 3


class Pause(NamedTuple):
    """No Job is created before `until` (monotonic); `message` is told to the first of the queue."""

    until: float
    message: str


class Refusals:
    """What was refused since the cluster last took a Job."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._specs: set[str] = set()
        self._pauses = 0
        self.pause: Pause | None = None

    @property
    def one_at_a_time(self) -> bool:
        """Whether it is not a single spec that is refused."""
        return len(self._specs) >= SEVERAL_SPECS

    def refused(self, uid: str, *, spec: str, message: str, now: float) -> float:
        """The Job of an evaluation with this digest of its spec was refused; how many seconds that one is to wait."""
        self._counts[uid] = self._counts.get(uid, 0) + 1
        self._specs.add(spec)
        if self.one_at_a_time:
            self._pauses += 1
            seconds = doubling(FIRST_PAUSE_SECONDS, self._pauses, LONGEST_SECONDS)
            self.pause = Pause(now + seconds, _paused(len(self._specs), seconds, message))
        return doubling(FIRST_WAIT_SECONDS, self._counts[uid], LONGEST_SECONDS)

    def taken(self, uid: str) -> None:
        """The cluster took a Job, this one's."""
        self._counts.pop(uid, None)
        self._specs.clear()
        self._pauses, self.pause = 0, None

    def paused_in(self, now: float) -> float:
        """For how many seconds nothing is to be tried."""
        return max(0.0, self.pause.until - now) if self.pause else 0.0

    def keep(self, uids: Container[str]) -> None:
        """Forgets those that are gone."""
        self._counts = {uid: count for uid, count in self._counts.items() if uid in uids}


def _paused(specs: int, seconds: float, message: str) -> str:
    many = f"the cluster refused the Jobs of {specs} different evaluations"
    return f"{many}; none is tried for {seconds:.0f} s. The last refusal: {message}"


def digest(spec: Object) -> str:
    """The same for two specs that make the same Job."""
    fixed = {name: value for name, value in spec.items() if name not in MUTABLE}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def blames_the_object(error: errors.KubeError) -> bool:
    """Whether the API server itself found fault with an object, field by field. What a policy denies is the cluster's affair."""
    return isinstance(error, errors.Invalid) and "denied" not in error.message and any(map(_field, error.causes))


def _field(cause: dict[str, str]) -> str:
    return cause.get("field") or ""
