"""What pairs of values show about the difference of two runs: McNemar's test and Tango's limits, or a paired t. Pure.

A difference is candidate minus baseline, turned so that above 0 is better. Where there is no answer a field is None,
never NaN; an interval always has a width, as what so many documents did not show may still happen.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from lmms_eval_core.compare.distributions import (
    find_coins,
    find_normal_quantile,
    find_normal_tail,
    find_root,
    find_t_quantile,
    find_t_tail,
)

# Standard errors below this share of the difference are rounding.
_ROUNDING: Final = 1e-12


class Method(StrEnum):
    """How p and the limits were computed."""

    MCNEMAR = "McNemar mid-p, Tango limits"
    PAIRED_T = "paired t, guarded limits"
    CLUSTERED_T = "clustered paired t, guarded limits"


class Limits(NamedTuple):
    """The interval of a difference; each limit by itself has the one-sided confidence that was asked for."""

    lower: float
    upper: float


class McNemar(NamedTuple):
    """Two-sided p values of the hypothesis that as many documents are lost as won."""

    exact: float
    mid: float


class BinaryCounts(NamedTuple):
    """Of documents that are right or wrong in both runs: how many were lost, won, and how many there are."""

    lost: int
    won: int
    pairs: int


@dataclass(frozen=True)
class Difference:
    """The mean difference of `pairs` documents; of `units` independent ones, or clusters of them.

    `reach` is the most by which one document can change.
    """

    method: Method
    pairs: int
    units: int
    estimate: float | None = None
    stderr: float | None = None
    limits: Limits | None = None
    p: float | None = None
    reach: float = 1.0
    counts: BinaryCounts | None = None

    @property
    def deviation(self) -> float:
        """The standard deviation of a unit's difference."""
        return (self.stderr or 0.0) * math.sqrt(self.units)

    def find_p_below(self, bound: float) -> float | None:
        """Return the one-sided p of "the difference is `bound` or more": small where it is shown to be less."""
        if self.estimate is None:
            return None
        if self.counts is not None:
            return find_normal_tail(-find_tango_score(self.counts, bound))
        if self.stderr is None or self.units < 2:
            return None
        return find_t_tail(-self._find_guarded_t(self.estimate - bound), self.units - 1)

    def _find_guarded_t(self, distance: float) -> float:
        """Return the t whose inversion are the guarded limits."""
        variance = (self.stderr or 0.0) ** 2 + self.reach * abs(distance) / self.units
        return distance / math.sqrt(variance) if variance > 0.0 else math.copysign(math.inf, distance)


def compare_binary(counts: BinaryCounts, *, level: float) -> Difference:
    """Return the difference of documents that are right or wrong; `level` is the one-sided confidence of a limit."""
    lost, won, pairs = counts
    if not pairs:
        return Difference(Method.MCNEMAR, 0, 0)
    stderr = math.sqrt(max(won + lost - (won - lost) ** 2 / pairs, 0.0)) / pairs
    return Difference(
        Method.MCNEMAR,
        pairs,
        pairs,
        (won - lost) / pairs,
        stderr,
        find_tango_limits(counts, level=level),
        compute_mcnemar(lost, won).mid,
        counts=counts,
    )


def compare_documents(pairs: int, mean: float, squares: float, *, level: float, reach: float) -> Difference:
    """Return the difference by number, mean and sum of squared deviations of the documents' differences."""
    if pairs < 2:
        return Difference(Method.PAIRED_T, pairs, pairs, mean if pairs else None, reach=reach)
    stderr = math.sqrt(squares / (pairs - 1) / pairs)
    return _compare_units(Difference(Method.PAIRED_T, pairs, pairs, mean, stderr, reach=reach), level)


def compare_clusters(
    pairs: int, clusters: int, mean: float, squares: float, *, level: float, reach: float
) -> Difference:
    """Return the difference of documents in clusters, which may depend on each other within a cluster (CR1).

    `squares` is the sum, over clusters, of the squared sum of their differences' deviations from the mean.
    """
    if clusters < 2:
        return Difference(Method.CLUSTERED_T, pairs, clusters, mean if pairs else None, reach=reach)
    stderr = math.sqrt(clusters / (clusters - 1) * squares) / pairs
    return _compare_units(Difference(Method.CLUSTERED_T, pairs, clusters, mean, stderr, reach=reach), level)


def compute_mcnemar(lost: int, won: int) -> McNemar:
    """Return the exact p value, and mid-p, which keeps the level and is less conservative (Fagerland 2013)."""
    if not lost + won:
        return McNemar(1.0, 1.0)
    coins = find_coins(min(lost, won), lost + won)
    return McNemar(min(1.0, 2.0 * coins.at_most), min(1.0, 2.0 * coins.at_most - coins.exactly))


def find_tango_score(counts: BinaryCounts, difference: float) -> float:
    """Return the score statistic of a supposed difference (Tango 1998): large where the truth lies above it."""
    lost, won, pairs = counts
    top = won - lost - pairs * difference
    # The probability to be lost, if that is the difference, is the larger root of 2n q² + linear q + constant.
    linear = (2.0 * pairs - won + lost) * difference - won - lost
    constant = -lost * difference * (1.0 - difference)
    root = math.sqrt(max(linear * linear - 8.0 * pairs * constant, 0.0))
    # Of two equal forms the one that subtracts nothing.
    probability = (root - linear) / (4.0 * pairs) if linear <= 0.0 else -2.0 * constant / (root + linear)
    variance = pairs * (2.0 * probability + difference * (1.0 - difference))
    if variance <= 0.0:
        return math.copysign(math.inf, top) if top else 0.0
    return top / math.sqrt(variance)


def find_tango_limits(counts: BinaryCounts, *, level: float) -> Limits:
    """Return the differences that the score statistic does not refuse; both limits hold without any change too."""
    lost, won, pairs = counts
    if not pairs:
        return Limits(-1.0, 1.0)
    z, estimate = find_normal_quantile(level), (won - lost) / pairs
    lower = -1.0 if lost == pairs else find_root(lambda d: find_tango_score(counts, d) - z, -1.0, estimate)
    upper = 1.0 if won == pairs else find_root(lambda d: find_tango_score(counts, d) + z, estimate, 1.0)
    return Limits(lower, upper)


def find_guarded_limits(estimate: float, stderr: float, units: int, *, quantile: float, reach: float) -> Limits:
    """Return limits of t that stay honest where little or nothing changed.

    The t interval of no changes has no width. What `units` units did not show may still happen to the next one, which
    changes by `reach` at most: Wilson's interval, generalised.
    """
    shift = quantile * quantile * reach / (2.0 * units)
    half = math.hypot(quantile * stderr, shift)
    bound = max(reach, abs(estimate)) if reach else math.inf
    return Limits(max(estimate - shift - half, -bound), min(estimate + shift + half, bound))


def _compare_units(known: Difference, level: float) -> Difference:
    """Return the difference with limits and p."""
    estimate, stderr, units = known.estimate or 0.0, known.stderr or 0.0, known.units
    smallest = _ROUNDING * max(abs(estimate), known.reach)
    if stderr > smallest:
        p = 2.0 * find_t_tail(abs(estimate) / stderr, units - 1)
    else:
        # All units changed by the same, or none did: a sign test, where a t test would be certain.
        p, stderr = (1.0 if abs(estimate) <= smallest else math.ldexp(2.0, -units)), 0.0
    quantile = find_t_quantile(level, units - 1)
    limits = find_guarded_limits(estimate, stderr, units, quantile=quantile, reach=known.reach)
    return Difference(
        known.method, known.pairs, units, estimate, stderr, limits, min(1.0, p), known.reach, known.counts
    )
