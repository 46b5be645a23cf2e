"""Jobs that the cluster refused to take, by a policy, a quota or a webhook that is away, and the waits that follow. No
I/O.

One that is refused waits by itself, longer each time, and the next one has its turn. Where different specs are refused
one after the other it is not them: then nothing is tried for a while, and after that one at a time, until a Job is
taken.
"""

import hashlib
import json
from collections.abc import Container
from typing import Final, NamedTuple

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import Object
from lmms_eval_core.spec import MUTABLE
from lmms_eval_operator.action_failures import compute_backoff

FIRST_WAIT_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 300.0
SEVERAL_SPECS: Final = 3


class Pause(NamedTuple):
    """No Job is created before `until` (monotonic); `message` is written into the first of the queue."""

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

    def record_refusal(self, uid: str, *, spec: str, message: str, now: float) -> float:
        """Record that the Job of an evaluation with this digest of its spec was refused; return the seconds that it
        waits.
        """
        self._counts[uid] = self._counts.get(uid, 0) + 1
        self._specs.add(spec)
        if self.one_at_a_time:
            self._pauses += 1
            seconds = compute_backoff(FIRST_PAUSE_SECONDS, self._pauses, LONGEST_SECONDS)
            self.pause = Pause(now + seconds, _describe_pause(len(self._specs), seconds, message))
        return compute_backoff(FIRST_WAIT_SECONDS, self._counts[uid], LONGEST_SECONDS)

    def record_success(self, uid: str) -> None:
        """Record that the cluster took the Job of this evaluation."""
        self._counts.pop(uid, None)
        self._specs.clear()
        self._pauses, self.pause = 0, None

    def seconds_until_unpaused(self, now: float) -> float:
        """For how many seconds nothing is to be tried."""
        return max(0.0, self.pause.until - now) if self.pause else 0.0

    def keep_only(self, uids: Container[str]) -> None:
        """Forget all evaluations but these."""
        self._counts = {uid: count for uid, count in self._counts.items() if uid in uids}


def _describe_pause(specs: int, seconds: float, message: str) -> str:
    many = f"the cluster refused the Jobs of {specs} different evaluations"
    return f"{many}; none is tried for {seconds:.0f} s. The last refusal: {message}"


def digest_spec(spec: Object) -> str:
    """Return a digest that is the same for two specs that make the same Job."""
    fixed = {name: value for name, value in spec.items() if name not in MUTABLE}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def is_about_object(error: errors.KubeError) -> bool:
    """Return whether the API server itself refused fields of the object, rather than a policy of the cluster."""
    return isinstance(error, errors.Invalid) and "denied" not in error.message and any(map(_read_field, error.causes))


def _read_field(cause: dict[str, str]) -> str:
    return cause.get("field") or ""
