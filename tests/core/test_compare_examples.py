"""Worked examples, with the values that scipy and statsmodels gave for them."""

import itertools
import math
from pathlib import Path

import pytest

from lmms_eval_core.compare.corrections import correct_by_benjamini_hochberg, correct_by_holm
from lmms_eval_core.compare.difference import (
    BinaryCounts,
    Difference,
    compare_binary,
    compare_clusters,
    compare_documents,
    compute_mcnemar,
    find_tango_limits,
)
from lmms_eval_core.compare.planning import count_needed, find_smallest_detectable

# The reference searched the likelihood of Tango's limits numerically.
SEARCHED = 5e-9
EXACT = 1e-9

# name, lost, won, pairs, p exact, mid-p, lower, upper, margin, what a gate says of it
BINARY = [
    ("B1", 30, 20, 1000, 0.20263875106454066, 0.16077960181198842, -0.022107434520197724, 0.00167330399218764, 0.03, 0),
    ("B2", 30, 20, 1000, 0.20263875106454066, 0.16077960181198842, -0.022107434520197724, 0.00167330399218764, 0.02, 1),
    ("B3", 60, 20, 1000, 8.580559867049611e-06, 5.656214894965927e-06, -0.05524322202488946, -0.025773777574, 0.01, 2),
    ("B4", 0, 0, 100, 1.0, 1.0, -0.026342720783174324, 0.026342720783174324, 0.01, 1),
    ("B5", 0, 0, 300, 1.0, 1.0, -0.008937872175128179, 0.008937872175128179, 0.01, 0),
    ("B6", 10, 0, 10, 0.001953125, 0.0009765625, -1.0, -0.5741160598331853, 0.05, 2),
    ("B7", 90, 60, 5000, 0.017597691928785828, 0.014359642888005389, -0.010108026227569, -0.001988731901226, 0.015, 0),
]


def judge(found: Difference, margin: float) -> int:
    """0: shown to lose no more than the margin, 2: shown to lose more, 1: neither."""
    assert found.limits is not None
    if found.limits.lower >= -margin:
        return 0
    return 2 if (found.find_p_below(-margin) or 0.0) < 0.05 else 1


@pytest.mark.parametrize(
    ("name", "lost", "won", "pairs", "exact", "mid", "lower", "upper", "margin", "verdict"),
    BINARY,
    ids=[row[0] for row in BINARY],
)
def test_right_or_wrong(
    name: str,
    lost: int,
    won: int,
    pairs: int,
    exact: float,
    mid: float,
    lower: float,
    upper: float,
    margin: float,
    verdict: int,
) -> None:
    found = compare_binary(BinaryCounts(lost, won, pairs), level=0.95)
    assert found.estimate == pytest.approx((won - lost) / pairs, abs=EXACT)
    assert compute_mcnemar(lost, won) == pytest.approx((exact, mid), abs=EXACT)
    assert found.p == pytest.approx(mid, abs=EXACT)
    assert found.limits == pytest.approx((lower, upper), abs=SEARCHED)
    assert judge(found, margin) == verdict


def test_documents_that_would_tell() -> None:
    # B2, B4, and G1: no change at all, and changes of 5 % of the documents.
    b2 = compare_binary(BinaryCounts(30, 20, 1000), level=0.95)
    assert count_needed(b2.deviation, 0.02, level=0.95, reach=1.0) == 772
    assert count_needed(0.0, 0.01, level=0.95, reach=1.0) == 268
    assert count_needed(math.sqrt(0.05), 0.01, level=0.95, reach=1.0) == 3092


def test_textbook_table() -> None:
    # B8: airway reactivity, two-sided 95 %.
    found = find_tango_limits(BinaryCounts(7, 1, 21), level=0.975)
    assert found == pytest.approx((-0.5172322772712257, -0.026003031238308646), abs=SEARCHED)


def compare(values: list[float], *, level: float, reach: float) -> Difference:
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return compare_documents(len(values), mean, squares, level=level, reach=reach)


BASE = [0.90, 0.45, 1.0, 0.30, 0.72, 0.66, 0.00, 0.81, 0.95, 0.50, 0.88, 0.40]
CANDIDATE = [0.85, 0.50, 1.0, 0.10, 0.70, 0.60, 0.05, 0.80, 0.90, 0.55, 0.80, 0.35]


def test_scores() -> None:
    # C1
    values = [candidate - base for base, candidate in zip(BASE, CANDIDATE, strict=True)]
    found, plain = compare(values, level=0.95, reach=1.0), compare(values, level=0.95, reach=0.0)
    assert found.estimate == pytest.approx(-0.030833333333333338, abs=EXACT)
    assert found.stderr == pytest.approx(0.020243155720770258, abs=EXACT)
    assert found.p == pytest.approx(0.15593920656181595, abs=EXACT)
    assert plain.limits == pytest.approx((-0.06718770937492656, 0.005521042708259868), abs=EXACT)
    assert found.limits == pytest.approx((-0.3044307929809382, 0.24276412631427158), abs=EXACT)


QUESTIONS = [1, 1, 1, -1, 0, 0, -1, -1, -1, 0, 0, 0, -1, -1, -1, 1, 1, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, -1, 0, -1]
QUESTIONS += [0] * 6


def test_questions_of_videos() -> None:
    # C2: three questions of each video.
    videos = [sum(QUESTIONS[start : start + 3]) for start in range(0, 36, 3)]
    mean = sum(QUESTIONS) / 36
    naive = compare(list(map(float, QUESTIONS)), level=0.95, reach=1.0)
    assert (naive.stderr, naive.p) == pytest.approx((0.1065533458896631, 0.20092438603385776), abs=EXACT)
    found = compare_clusters(36, 12, mean, sum((total - 3 * mean) ** 2 for total in videos), level=0.95, reach=1.0)
    assert found.units == 12 and found.estimate == pytest.approx(-0.1388888888888889, abs=EXACT)
    assert (found.stderr, found.p) == pytest.approx((0.17143842497468362, 0.4350367715669812), abs=EXACT)
    assert found.limits is not None
    assert found.limits.lower == pytest.approx(-0.6092057286503403, abs=EXACT)


def test_repeats_are_averaged_first() -> None:
    # C3: four answers to each of five documents.
    base = [[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 1]]
    candidate = [[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]]
    found = compare([(sum(c) - sum(b)) / 4 for b, c in zip(base, candidate, strict=True)], level=0.95, reach=1.0)
    assert (found.estimate, found.p) == pytest.approx((-0.2, 0.016130089900092553), abs=EXACT)


def test_a_rise_of_an_error_rate_is_a_loss() -> None:
    # D2
    base, candidate = [0.10, 0.20, 0.05, 0.30, 0.12, 0.25], [0.12, 0.22, 0.05, 0.33, 0.11, 0.31]
    found = compare([b - c for b, c in zip(base, candidate, strict=True)], level=0.95, reach=1.0)
    assert (found.estimate, found.p) == pytest.approx((-0.02, 0.10193947882985832), abs=EXACT)


def test_equal_changes() -> None:
    # D3: the sign test, where a t test says 0.
    assert compare([0.5] * 4, level=0.95, reach=1.0).p == 0.125


def test_four_tasks() -> None:
    # E1
    raw = [0.013, 0.04, 0.2, 0.9]
    assert correct_by_holm(raw) == pytest.approx([0.052, 0.12, 0.4, 0.9], abs=EXACT)
    assert correct_by_benjamini_hochberg(raw) == pytest.approx([0.052, 0.08, 0.8 / 3, 0.9], abs=EXACT)


def test_one_shaky_rule_of_three() -> None:
    # E2: shown to lose more by itself, not among three.
    rules = [compare_binary(BinaryCounts(lost, 12, 1000), level=0.95) for lost in (40, 12, 9)]
    raw = [found.find_p_below(-0.015) or 0.0 for found in rules]
    assert raw[0] == pytest.approx(0.030167, abs=5e-7)
    assert correct_by_holm(raw) == pytest.approx([0.0905, 1.0, 1.0], abs=5e-7)


PAGE = Path(__file__).parents[2] / "docs" / "compare.md"


def read_table(page: str, heading: str) -> list[list[str]]:
    """The cells of the table whose head begins so, without its heads."""
    lines = page[page.index(f"| {heading} |") :].splitlines()
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_page_has_the_numbers() -> None:
    page = PAGE.read_text()
    head, _, *rows = read_table(page, "documents that change")
    margins = [float(cell.removeprefix("margin ")) for cell in head[1:]]
    for share, *cells in rows:
        deviation = math.sqrt(float(share.removesuffix("%")) / 100)
        assert cells == [f"{count_needed(deviation, margin, level=0.95, reach=1.0):,}" for margin in margins]
    head, _, *rows = read_table(page, "documents")
    shares = [float(cell.split("%")[0]) / 100 for cell in head[1:]]
    for cell, *cells in rows:
        size = int(cell.replace(",", ""))
        found = [find_smallest_detectable(math.sqrt(share / size), size, level=0.975, reach=1.0) for share in shares]
        assert cells == [f"{each:.3f}" for each in found]
