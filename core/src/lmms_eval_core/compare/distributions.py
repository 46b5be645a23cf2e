"""Tail probabilities and quantiles of the normal, of Student's t and of fair coins. Pure.

Relative errors stay below 1e-9, far in the tails and for a million degrees of freedom too; the tests compare with
scipy. docs/design/2026-11-28-compare.md says why no library does this.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple

_NORMAL: Final = NormalDist()
_HALF_LOG_TWO_PI: Final = 0.5 * math.log(2.0 * math.pi)
# From here on the series of Stirling's formula has all digits.
_STIRLING_FROM: Final = 15.0
# Where t and normal agree to 1e-9.
_NORMAL_FROM: Final = 1e10
_TINY: Final = 1e-300
_EPSILON: Final = 1e-15
_EXACT_COINS: Final = 1000
_MAX_STEPS: Final = 200


class CoinProbability(NamedTuple):
    """Of the number of heads: the probability to get so many or fewer, and exactly so many."""

    at_most: float
    exactly: float


def find_normal_quantile(p: float) -> float:
    """Return the value that a standard normal stays below with probability `p`."""
    return _NORMAL.inv_cdf(p)


def find_normal_tail(z: float) -> float:
    """Return P(Z > z)."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def find_t_tail(t: float, df: float) -> float:
    """Return P(T > t) for `df` degrees of freedom."""
    if t < 0.0:
        return 1.0 - find_t_tail(-t, df)
    square = t * t
    if math.isinf(square):
        return 0.0
    return 0.5 * find_beta(df / 2.0, 0.5, df / (df + square), square / (df + square))


@lru_cache(maxsize=1024)
def find_t_quantile(p: float, df: float) -> float:
    """Return the value that T stays below with probability `p`, which is above 0 and below 1."""
    if p < 0.5:
        return -find_t_quantile(1.0 - p, df)
    if df >= _NORMAL_FROM:
        return find_normal_quantile(p)
    tail, high = 1.0 - p, 2.0
    while find_t_tail(high, df) > tail:
        high *= 2.0
    return find_root(lambda t: find_t_tail(t, df) - tail, 0.0, high)


def find_coins(heads: int, coins: int) -> CoinProbability:
    """Return the probabilities of a number of heads among fair coins."""
    if heads >= coins:
        return CoinProbability(1.0, math.ldexp(1.0, -coins))
    at_most = find_beta(coins - heads, heads + 1.0, 0.5, 0.5)
    exactly = math.comb(coins, heads) / 2**coins if coins <= _EXACT_COINS else _find_many_coins(heads, coins)
    return CoinProbability(at_most, exactly)


def find_beta(a: float, b: float, x: float, y: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b); `y` is 1 - x, with the digits that x near 1 lacks."""
    if x <= 0.0:
        return 0.0
    if y <= 0.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - find_beta(b, a, y, x)
    return _find_beta_front(a, b, x, y) * _find_beta_fraction(a, b, x) / a


def find_root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function crosses 0, between `low` and `high`, to the last digit."""
    for _ in range(_MAX_STEPS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if falling(middle) > 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _find_beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by the modified method of Lentz."""
    upper, lower = 1.0, 1.0 / _avoid_zero(1.0 - (a + b) * x / (a + 1.0))
    fraction = lower
    for step in range(1, 20 * (int(math.sqrt(max(a, b))) + 11)):
        twice = 2.0 * step
        even = step * (b - step) * x / ((a + twice - 1.0) * (a + twice))
        odd = -(a + step) * (a + b + step) * x / ((a + twice) * (a + twice + 1.0))
        for term in (even, odd):
            lower = 1.0 / _avoid_zero(1.0 + term * lower)
            upper = _avoid_zero(1.0 + term / upper)
            fraction *= lower * upper
        if abs(lower * upper - 1.0) < _EPSILON:
            break
    return fraction


def _avoid_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _find_beta_front(a: float, b: float, x: float, y: float) -> float:
    """Return x^a y^b / B(a, b), without the difference of large logarithms that costs digits."""
    total = a + b
    exponent = a * _log_ratio(x * total, a) + b * _log_ratio(y * total, b)
    exponent += _find_stirling_rest(total) - _find_stirling_rest(a) - _find_stirling_rest(b)
    return math.exp(exponent) * math.sqrt(a * b / (2.0 * math.pi * total))


def _find_many_coins(heads: int, coins: int) -> float:
    """Return P(X = heads) by Loader's expansion (2000)."""
    if heads == 0:
        return math.exp(-coins * math.log(2.0))
    tails = coins - heads
    exponent = heads * _log_ratio(coins / 2.0, heads) + tails * _log_ratio(coins / 2.0, tails)
    # ln n! has the rest of lgamma(n), as n! is n times gamma(n).
    exponent += _find_stirling_rest(coins) - _find_stirling_rest(heads) - _find_stirling_rest(tails)
    return math.exp(exponent) * math.sqrt(coins / (2.0 * math.pi * heads * tails))


def _log_ratio(top: float, bottom: float) -> float:
    near = abs(top - bottom) < 0.5 * bottom
    return math.log1p((top - bottom) / bottom) if near else math.log(top / bottom)


def _find_stirling_rest(x: float) -> float:
    """Return lgamma(x) - ((x - 1/2) ln x - x + ln(2 pi)/2)."""
    if x < _STIRLING_FROM:
        return math.lgamma(x) - ((x - 0.5) * math.log(x) - x + _HALF_LOG_TWO_PI)
    y = 1.0 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188 - y * 691 / 360360))))) / x
