"""The statistics of comparisons beside scipy and statsmodels, on seeded random cases and at their edges."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import normal_sample_size_one_tail

from lmms_eval_core.compare.corrections import correct_by_benjamini_hochberg, correct_by_holm
from lmms_eval_core.compare.difference import (
    BinaryCounts,
    Difference,
    Limits,
    Method,
    compare_binary,
    compare_clusters,
    compare_documents,
    compute_mcnemar,
    find_guarded_limits,
    find_tango_limits,
    find_tango_score,
)
from lmms_eval_core.compare.distributions import find_beta, find_coins, find_normal_tail, find_t_quantile, find_t_tail
from lmms_eval_core.compare.planning import count_needed, find_smallest_detectable

CASES = 200
TOLERANCE = 1e-9


def make_random() -> np.random.Generator:
    return np.random.default_rng(20261128)


def assert_close(ours: Sequence[float], theirs: Any, *, relative: float = TOLERANCE) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=relative, atol=TOLERANCE)


# --- distributions


def test_t_tails() -> None:
    random = make_random()
    df = random.choice(np.array([1.0, 2, 3, 5, 10, 29, 49, 100, 999, 12345, 999_999]), CASES)
    t = random.normal(size=CASES) * random.choice([0.01, 1, 3, 10], CASES)
    assert_close([find_t_tail(*case) for case in zip(t, df, strict=True)], stats.t.sf(t, df))
    far = [find_t_tail(*case) for case in zip(np.abs(t), df, strict=True)]
    np.testing.assert_allclose(far, stats.t.sf(np.abs(t), df), rtol=1e-8)


def test_t_quantiles() -> None:
    random = make_random()
    df = random.choice(np.array([1, 2, 3, 5, 10, 29, 49, 100, 999, 12345, 999_999, 1e12]), CASES)
    p = random.choice([0.5, 0.8, 0.95, 0.975, 0.995, 0.05, 0.025, *random.uniform(1e-4, 0.9999, 5)], CASES)
    np.testing.assert_allclose(
        [find_t_quantile(*case) for case in zip(p.tolist(), df.tolist(), strict=True)],
        stats.t.ppf(p, df),
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )


def test_coins() -> None:
    random = make_random()
    coins = random.choice([1, 2, 7, 30, 200, 1001, 5000, 100_000, 1_000_000], CASES)
    heads = np.clip(np.floor(random.normal(coins / 2, np.sqrt(coins))), 0, coins).astype(int)
    found = [find_coins(*case) for case in zip(heads.tolist(), coins.tolist(), strict=True)]
    np.testing.assert_allclose([coin.at_most for coin in found], stats.binom.cdf(heads, coins, 0.5), rtol=TOLERANCE)
    np.testing.assert_allclose([coin.exactly for coin in found], stats.binom.pmf(heads, coins, 0.5), rtol=TOLERANCE)
    assert find_coins(0, 2000) == pytest.approx((0.5**1000 * 0.5**1000,) * 2)


def test_ends_of_distributions() -> None:
    assert (find_beta(2, 3, 0.0, 1.0), find_beta(2, 3, 1.0, 0.0)) == (0.0, 1.0)
    assert (find_t_tail(math.inf, 3), find_t_tail(-math.inf, 3), find_t_tail(1e200, 3)) == (0.0, 1.0, 0.0)
    assert find_t_tail(0.0, 7) == 0.5 and find_t_quantile(0.5, 7) == pytest.approx(0.0, abs=1e-12)
    assert find_normal_tail(40.0) == pytest.approx(float(stats.norm.sf(40.0)), rel=TOLERANCE)


# --- right or wrong

TABLES = [(0, 0, 1), (0, 0, 300), (10, 0, 10), (0, 10, 10), (1, 0, 1), (5, 5, 10), (0, 1, 44), (50, 50, 100)]


def make_tables() -> list[BinaryCounts]:
    random, found = make_random(), [BinaryCounts(*table) for table in TABLES]
    for _ in range(CASES):
        pairs = int(random.choice([2, 5, 12, 32, 100, 400, 2374, 10_000]))
        changed = random.choice([0.0, 0.01, 0.1, 0.3, 0.7, 1.0])
        shift = random.uniform(-changed, changed)
        lost, won, _ = random.multinomial(pairs, [(changed - shift) / 2, (changed + shift) / 2, 1 - changed])
        found.append(BinaryCounts(int(lost), int(won), pairs))
    return found


def test_mcnemar() -> None:
    for lost, won, pairs in make_tables():
        found, changed, fewer = compute_mcnemar(lost, won), lost + won, min(lost, won)
        if not changed:
            assert found == (1.0, 1.0)
            continue
        exact = mcnemar([[pairs - changed, lost], [won, 0]], exact=True).pvalue
        mid = 2 * stats.binom.cdf(fewer, changed, 0.5) - stats.binom.pmf(fewer, changed, 0.5)
        assert_close(found, [float(exact), min(1.0, float(mid))])


def find_score_by_likelihood(counts: BinaryCounts, difference: float) -> float:
    """The score statistic by the likelihood itself, whose slope is 0 at the most likely probability to be lost."""
    lost, won, pairs = counts
    low, high = max(0.0, -difference), (1.0 - difference) / 2.0

    def find_slope(q: float) -> float:
        # Times the three probabilities, so that there is nothing to divide by.
        p, rest = q + difference, 1.0 - 2.0 * q - difference
        return lost * p * rest + won * q * rest - 2.0 * (pairs - lost - won) * q * p

    inside = np.linspace(low, high, 5)[1:-1]
    ends = (find_slope(low + 1e-15), find_slope(high - 1e-15))
    if ends[0] * ends[1] < 0:
        q = optimize.brentq(find_slope, low + 1e-15, high - 1e-15, xtol=1e-16, rtol=1e-15)
    else:
        q = low if find_slope(inside[1]) <= 0 else high
    variance = pairs * (2.0 * q + difference - difference * difference)
    top = won - lost - pairs * difference
    return float(top / math.sqrt(variance)) if variance > 0 else math.copysign(math.inf, top)


@pytest.mark.parametrize("level", [0.95, 0.975])
def test_tango_limits(level: float) -> None:
    z = float(stats.norm.ppf(level))
    for counts in make_tables():
        lost, won, pairs = counts
        found, estimate = find_tango_limits(counts, level=level), (won - lost) / pairs
        assert -1.0 <= found.lower <= estimate <= found.upper <= 1.0 and found.lower < found.upper
        for limit, side in ((found.lower, 1.0), (found.upper, -1.0)):
            if abs(limit) < 1.0:
                step = 1e-9
                before = find_score_by_likelihood(counts, limit - step) - side * z
                after = find_score_by_likelihood(counts, limit + step) - side * z
                # The likelihood itself crosses the limit of the score within the tolerance.
                assert before > 0.0 > after, (counts, limit)


def test_nothing_in_common() -> None:
    assert find_tango_limits(BinaryCounts(0, 0, 0), level=0.95) == (-1.0, 1.0)
    assert compare_binary(BinaryCounts(0, 0, 0), level=0.95) == Difference(Method.MCNEMAR, 0, 0)
    assert compare_documents(0, 0.0, 0.0, level=0.95, reach=1.0).estimate is None
    assert compare_clusters(0, 0, 0.0, 0.0, level=0.95, reach=1.0).estimate is None


# --- numbers


def compare(values: Sequence[float], *, level: float, reach: float) -> Difference:
    array = np.asarray(values, float)
    squares = float(((array - array.mean()) ** 2).sum()) if len(array) else 0.0
    return compare_documents(len(array), float(array.mean()), squares, level=level, reach=reach)


def make_vector(random: np.random.Generator, size: int) -> Any:
    made = [
        random.normal(random.normal() * 0.1, 0.3, size),
        np.round(random.beta(0.4, 0.4, size) - random.beta(0.4, 0.4, size), 3),
        random.choice([-1.0, 0.0, 1.0], size, p=[0.05, 0.9, 0.05]),
        random.choice([-0.5, 0.0, 0.25], size),
        random.exponential(1e3, size) - 900,
    ]
    return made[random.integers(5)]


def test_paired_t() -> None:
    random = make_random()
    for _ in range(CASES):
        values = make_vector(random, int(random.choice([2, 3, 5, 30, 100, 1000])))
        if not values.std():
            continue
        # Without a reach, the limits are those of t alone.
        found = compare(values, level=0.975, reach=0.0)
        wanted = stats.ttest_1samp(values, 0.0)
        scale = float(np.abs(values).max())
        assert found.limits is not None and found.p is not None and found.estimate is not None
        assert_close([found.p, found.estimate / scale], [wanted.pvalue, values.mean() / scale])
        assert_close(np.array(found.limits) / scale, np.array(wanted.confidence_interval(0.95)) / scale)


def compare_groups(values: Any, clusters: Any, *, level: float, reach: float) -> Difference:
    mean, names = float(values.mean()), np.unique(clusters)
    squares = sum(float((values[clusters == name] - mean).sum() ** 2) for name in names)
    return compare_clusters(len(values), len(names), mean, squares, level=level, reach=reach)


def test_clustered_t() -> None:
    import statsmodels.api as models

    random = make_random()
    for _ in range(CASES // 4):
        size = int(random.choice([30, 100, 300]))
        values = make_vector(random, size)
        clusters = random.integers(0, max(3, size // int(random.integers(2, 6))), size)
        if not values.std():
            continue
        options = {"groups": clusters, "use_correction": True}
        fit = models.OLS(values, np.ones(size)).fit(cov_type="cluster", cov_kwds=options, use_t=True)
        found = compare_groups(values, clusters, level=0.975, reach=0.0)
        scale = float(np.abs(values).max())
        assert found.p is not None and found.stderr is not None and found.limits is not None
        assert found.units == len(np.unique(clusters)) and found.pairs == size
        assert_close([found.p, found.stderr / scale], [fit.pvalues[0], fit.bse[0] / scale])
        assert_close(np.array(found.limits) / scale, fit.conf_int()[0] / scale)


def test_one_unit_says_nothing() -> None:
    for found in (
        compare([0.5], level=0.95, reach=1.0),
        compare_clusters(3, 1, 0.5, 0.0, level=0.95, reach=1.0),
    ):
        assert (found.estimate, found.units) == (0.5, 1)
        assert (found.limits, found.p, found.stderr, found.find_p_below(0.0)) == (None, None, None, None)


def test_no_change_has_an_interval() -> None:
    found = compare([0.0] * 100, level=0.95, reach=1.0)
    assert (found.p, found.stderr) == (1.0, 0.0)
    assert found.limits is not None and found.limits.lower == -found.limits.upper < 0.0


def test_guarded_limits_are_wider_than_t_and_stay_in_reach() -> None:
    plain = find_guarded_limits(-0.5, 0.2, 10, quantile=2.0, reach=0.0)
    guarded = find_guarded_limits(-0.5, 0.2, 10, quantile=2.0, reach=1.0)
    assert plain == pytest.approx((-0.9, -0.1)) and guarded.lower < plain.lower and guarded.upper > plain.upper
    assert find_guarded_limits(-1.0, 0.0, 2, quantile=6.0, reach=1.0) == Limits(-1.0, 1.0)
    # A quantile that its limit has: the p of the limit is the level.
    found = compare(make_vector(make_random(), 40), level=0.95, reach=1.0)
    assert found.limits is not None
    assert found.find_p_below(found.limits.upper) == pytest.approx(0.05, abs=TOLERANCE)


def test_the_score_is_infinite_where_the_difference_cannot_be() -> None:
    assert find_tango_score(BinaryCounts(5, 0, 10), 1.0) == -math.inf
    assert find_tango_score(BinaryCounts(0, 10, 10), 1.0) == 0.0


# --- many, and planning


def test_corrections() -> None:
    random = make_random()
    for _ in range(CASES):
        raw = (random.random(int(random.integers(1, 30))) ** 2).tolist()
        assert_close(correct_by_holm(raw), multipletests(raw, method="holm")[1])
        assert_close(correct_by_benjamini_hochberg(raw), multipletests(raw, method="fdr_bh")[1])
    assert correct_by_holm([]) == correct_by_benjamini_hochberg([]) == []


def test_documents_needed() -> None:
    for deviation, margin in ((0.3, 0.01), (0.5, 0.02), (0.2, 0.05), (1.0, 0.03)):
        wanted = math.ceil(normal_sample_size_one_tail(margin, 0.8, 0.05, std_null=deviation))
        assert count_needed(deviation, margin, level=0.95, reach=0.0) == wanted


def test_smallest_detectable() -> None:
    found = find_smallest_detectable(0.01, 2000, level=0.975, reach=1.0)
    assert found == pytest.approx(0.01 * float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8)))
    # Without a change it is the margin for which so many documents are needed.
    unseen = find_smallest_detectable(0.0, 268, level=0.95, reach=1.0)
    assert count_needed(0.0, unseen, level=0.95, reach=1.0) in (268, 269) and unseen == pytest.approx(0.01, abs=1e-4)
