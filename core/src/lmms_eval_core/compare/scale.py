"""Whether a metric is the mean of its samples' values, and in which units: as they are, or times 100. Pure.

Nothing in a results file says how a metric was aggregated, and most of lmms-eval's aggregations are functions. What can
be proven is that the mean of the values is the number that the harness gave.
"""

import math
from typing import Final, NamedTuple

from lmms_eval_core.compare.columns import OwnMean

# The harness's own arithmetic, and ours, round differently.
_RELATIVE: Final = 1e-6
# Some tasks round: proportions to four decimals, percentages to two.
_DECIMALS: Final = {1.0: 4, 100.0: 2}
_SLACK: Final = 1e-9

Scales = frozenset[float]
NO_SCALES: Final[Scales] = frozenset()


class Reported(NamedTuple):
    """A metric of one run: the number in its results file, and the mean of its samples."""

    value: float | None
    mean: OwnMean


class ScaleDecision(NamedTuple):
    """The factor from the mean of values to the number in both results files; None where it is no mean of them.

    `differs`: it is a mean in both, in other units.
    """

    scale: float | None
    differs: bool = False


def find_scales(reported: Reported) -> Scales:
    """Return the factors by which the mean of the values is what the results file says; none where it is no mean.

    A run in which all values are 0 fits both factors.
    """
    value, mean = reported.value, reported.mean
    if value is None or not mean.values or not math.isfinite(value):
        return NO_SCALES
    return frozenset(scale for scale in _DECIMALS if _reproduces(value, mean.mean * scale, _DECIMALS[scale]))


def decide_scale(baseline: Reported, candidate: Reported) -> ScaleDecision:
    """Return the factor of both runs together."""
    found = find_scales(baseline), find_scales(candidate)
    common = found[0] & found[1]
    return ScaleDecision(min(common) if common else None, all(found) and not common)


def _reproduces(value: float, mean: float, decimals: int) -> bool:
    distance = abs(value - mean)
    is_rounded = round(value, decimals) == value
    return distance <= _RELATIVE * max(1.0, abs(mean)) or (is_rounded and distance <= 0.5 * 10**-decimals + _SLACK)
