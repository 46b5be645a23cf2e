"""How many documents a comparison needs, and which difference it can find. Pure."""

import math
from typing import Final

from lmms_eval_core.compare.distributions import find_normal_quantile

POWER: Final = 0.8


def count_needed(deviation: float, margin: float, *, level: float, reach: float, power: float = POWER) -> int:
    """Return how many documents it takes to show that no more than `margin` is lost, if nothing is.

    `deviation` is the standard deviation of the documents' differences, and `reach` the most that one can change. They
    are shown with the one-sided confidence `level`, and found with probability `power`. Even if nothing changes, so
    many are needed that a change of `margin` would have been seen.
    """
    z = find_normal_quantile(level)
    by_deviation = ((z + find_normal_quantile(power)) * deviation / margin) ** 2
    return math.ceil(max(by_deviation, z * z * (reach - margin) / margin, 1.0))


def find_smallest_detectable(stderr: float, units: int, *, level: float, reach: float, power: float = POWER) -> float:
    """Return the smallest true difference that is found with probability `power`, at the one-sided `level`.

    Where nothing changed, it is the change that so many units would have shown.
    """
    z = find_normal_quantile(level)
    unseen = z * z * reach / (units + z * z)
    return max((z + find_normal_quantile(power)) * stderr, unseen)
