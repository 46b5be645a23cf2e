"""Pairs the documents of two indexes of samples, and sums what the pairs say of a metric. Pure.

The columns of an index come packed, zone by zone. A million pairs take a few seconds, and memory for two or three
columns at once. Everything raises DamagedIndex where the bytes are no index.
"""

import heapq
import math
from array import array
from collections.abc import Iterable, Sequence
from itertools import compress, islice
from operator import le
from typing import Any, Final, NamedTuple

from lmms_eval_core.compare.difference import (
    BinaryCounts,
    Difference,
    compare_binary,
    compare_clusters,
    compare_documents,
)
from lmms_eval_core.sample_index.format import HASH_BYTES, METRIC_TYPE
from lmms_eval_core.sample_index.reader import read_column, read_flag, read_hashes
from lmms_eval_core.sample_scoring import SampleFlag

# Fewer values than this are categories, whose documents do not depend on each other.
MIN_CLUSTERS: Final = 10
# Of each kind, lost and won, that are told one by one.
MAX_FLIPS: Final = 100
# Larger numbers are none: sums of squares would overflow.
MAX_VALUE: Final = 1e100
_SORTED_AT_ONCE: Final = 65_536
_NAN: Final = float("nan")

Packed = Sequence[bytes]


class DocumentColumns(NamedTuple):
    """What tells the documents of a run apart: packed columns of each zone, which has so many `rows`.

    `filter_number` is the filter whose lines count.
    """

    rows: Sequence[int]
    filter_number: int
    document: Packed
    filter: Packed
    target: Packed
    input: Packed
    cluster: Packed


class ValueColumns(NamedTuple):
    """The values of a metric: packed columns of each zone, which has so many `rows`."""

    rows: Sequence[int]
    filter_number: int
    filter: Packed
    flags: Packed
    values: Packed


class PairCounts(NamedTuple):
    """How many documents were paired, and what became of all others.

    `clusters` is how many clusters the pairs have, also where they are too few to be more than categories.
    """

    matched: int
    only_baseline: int = 0
    only_candidate: int = 0
    other_target: int = 0
    other_input: int = 0
    clusters: int = 0


class Pairs(NamedTuple):
    """Documents that are in both runs, with the same target, and the row that each has in either.

    `documents` are their keys in the index. `clusters` numbers the cluster of each, where there are clusters, from 0.
    """

    documents: "array[int]"
    baseline: "array[int]"
    candidate: "array[int]"
    clusters: "array[int] | None"
    counts: PairCounts


class Flip(NamedTuple):
    """A document that changed: its key, its row in each run, and its values."""

    document: int
    baseline_row: int
    candidate_row: int
    baseline: float
    candidate: float


class OwnMean(NamedTuple):
    """The mean of a run's values, those of documents that the other run lacks included."""

    values: int
    mean: float


class MetricSums(NamedTuple):
    """What pairs say of a metric. Differences are turned so that above 0 is better."""

    pairs: int
    mean: float
    squares: float
    lost: int
    won: int
    is_binary: bool
    reach: float
    clusters: int
    cluster_squares: float
    unscored_baseline: int
    unscored_candidate: int
    baseline: OwnMean
    candidate: OwnMean
    flips: Sequence[Flip] = ()

    def compare(self, *, level: float) -> Difference:
        """Return the difference; `level` is the one-sided confidence of each limit."""
        if self.clusters:
            counts = self.pairs, self.clusters
            return compare_clusters(*counts, self.mean, self.cluster_squares, level=level, reach=self.reach)
        if self.is_binary:
            return compare_binary(BinaryCounts(self.lost, self.won, self.pairs), level=level)
        return compare_documents(self.pairs, self.mean, self.squares, level=level, reach=self.reach)


def pair_documents(baseline: DocumentColumns, candidate: DocumentColumns) -> Pairs:
    """Return the pairs of one filter, in the order of their documents."""
    documents, sides, unpaired = _join(_order_documents(baseline), _order_documents(candidate))
    same = _list_equal(sides, *(read_hashes(run.target, run.rows) for run in (baseline, candidate)))
    if other_target := same.count(0):
        documents = array("q", compress(documents, same))
        sides = array("I", compress(sides[0], same)), array("I", compress(sides[1], same))
    same = _list_equal(sides, *(read_hashes(run.input, run.rows) for run in (baseline, candidate)))
    clusters, count = _number_clusters(candidate, sides[1])
    counts = PairCounts(len(documents), *unpaired, other_target, same.count(0), count)
    return Pairs(documents, *sides, clusters, counts)


def sum_pairs(pairs: Pairs, baseline: ValueColumns, candidate: ValueColumns, *, lower_is_better: bool) -> MetricSums:
    """Return what the pairs say of a metric. Failed answers have no value."""
    left, baseline_mean = pick_values(baseline, pairs.baseline)
    right, candidate_mean = pick_values(candidate, pairs.candidate)
    known = [array("B", map(is_number, side)).tobytes() for side in (left, right)]
    unscored = known[0].count(0), known[1].count(0)
    scored = bytes(map(int.__and__, *known)) if any(unscored) else known[0]
    if any(unscored):
        left, right = (array(METRIC_TYPE, compress(side, scored)) for side in (left, right))
    sign = -1.0 if lower_is_better else 1.0
    differences = array(METRIC_TYPE, (sign * (new - old) for old, new in zip(left, right, strict=True)))
    mean = math.fsum(differences) / len(differences) if differences else 0.0
    zeros = differences.count(0.0)
    lost = sum(difference < 0.0 for difference in differences) if zeros < len(differences) else 0
    return MetricSums(
        len(differences),
        mean,
        math.fsum((difference - mean) ** 2 for difference in differences),
        lost,
        len(differences) - zeros - lost,
        all(side.count(0.0) + side.count(1.0) == len(side) for side in (left, right)),
        max(1.0, *_list_extremes(max, left, right)) - min(0.0, *_list_extremes(min, left, right)),
        *_sum_clusters(pairs, scored, differences, mean),
        *unscored,
        baseline_mean,
        candidate_mean,
        _list_flips(pairs, scored, differences, left, right),
    )


class _Ordered(NamedTuple):
    """Rows in the order of their documents."""

    rows: "array[int]"
    documents: "array[int]"


class _Joined(NamedTuple):
    """Documents of both runs with their row in each, and how many of each run are in it alone."""

    documents: "array[int]"
    sides: "tuple[array[int], array[int]]"
    unpaired: tuple[int, int] = (0, 0)


def _order_documents(run: DocumentColumns) -> _Ordered:
    documents, rows = read_column(run.document, "q", run.rows), array("I", range(sum(run.rows)))
    chosen = _choose_filter(run.filter, run.rows, run.filter_number)
    if not all(chosen):
        rows, documents = array("I", compress(rows, chosen)), array("q", compress(documents, chosen))
    if all(map(le, documents, islice(documents, 1, None))):
        return _Ordered(rows, documents)
    places = _sort_places(documents)
    return _Ordered(array("I", map(rows.__getitem__, places)), array("q", map(documents.__getitem__, places)))


def _sort_places(keys: "array[int]") -> "array[int]":
    """Return the places of keys in their order, part by part: a list of all would take ten times the memory."""
    starts = range(0, len(keys), _SORTED_AT_ONCE)
    parts = (range(start, min(start + _SORTED_AT_ONCE, len(keys))) for start in starts)
    ordered = [array("I", sorted(part, key=keys.__getitem__)) for part in parts]
    return array("I", heapq.merge(*ordered, key=keys.__getitem__))


def _choose_filter(packed: Packed, rows: Sequence[int], number: int) -> bytes:
    """Return 1 for each row of a filter, else 0."""
    table = bytes(value == number for value in range(256))
    return read_column(packed, "B", rows).tobytes().translate(table)


def _join(left: _Ordered, right: _Ordered) -> _Joined:
    if left.documents == right.documents:
        # Most runs have all documents in the same order: one array less.
        return _Joined(left.documents, (left.rows, left.rows if left.rows == right.rows else right.rows))
    places: tuple[array[int], array[int]] = (array("I"), array("I"))
    at, other, old, new = 0, 0, left.documents, right.documents
    while at < len(old) and other < len(new):
        if old[at] == new[other]:
            places[0].append(at)
            places[1].append(other)
            at, other = at + 1, other + 1
        elif old[at] < new[other]:
            at += 1
        else:
            other += 1
    sides = array("I", map(left.rows.__getitem__, places[0])), array("I", map(right.rows.__getitem__, places[1]))
    paired = len(places[0])
    documents = array("q", map(old.__getitem__, places[0]))
    return _Joined(documents, sides, (len(old) - paired, len(new) - paired))


def _list_equal(sides: "tuple[array[int], array[int]]", left: bytes, right: bytes) -> bytes:
    """Return 1 for each pair whose hashes are the same, else 0."""
    if sides[0] == sides[1] and left == right:
        return b"\x01" * len(sides[0])
    size = HASH_BYTES
    return bytes(
        left[old * size : old * size + size] == right[new * size : new * size + size]
        for old, new in zip(*sides, strict=True)
    )


def _number_clusters(run: DocumentColumns, rows: "array[int]") -> "tuple[array[int] | None, int]":
    """Return the number of each row's cluster, and how many there are; none unless every row has one."""
    known = _read_cluster_keys(run)
    keys = array("q", map(known.__getitem__, rows))
    if not keys or 0 in keys:
        return None, 0
    del known
    found, count, last = array("I", bytes(4 * len(keys))), 0, 0
    for place in _sort_places(keys):
        if keys[place] != last:
            last, count = keys[place], count + 1
        found[place] = count - 1
    is_shared = MIN_CLUSTERS <= count < len(rows)
    return (found if is_shared else None), count


def pick_values(run: ValueColumns, rows: "array[int]") -> "tuple[array[float], OwnMean]":
    """Return the values of these rows, NaN where an answer failed, and the mean of all that the run has."""
    values = read_column(run.values, METRIC_TYPE, run.rows)
    chosen = _choose_filter(run.filter, run.rows, run.filter_number)
    count = sum(map(is_number, compress(values, chosen)))
    # lmms-eval's own mean counts failed answers, whose values are those of a wrong one.
    mean = OwnMean(count, _sum_numbers(compress(values, chosen)) / count if count else _NAN)
    for row in compress(range(len(values)), read_flag(run.flags, run.rows, SampleFlag.FAILED)):
        values[row] = _NAN
    return array(METRIC_TYPE, map(values.__getitem__, rows)), mean


def _read_cluster_keys(run: DocumentColumns) -> "array[int]":
    """Return the hash of each row's cluster as a number; 0 for a row without one."""
    keys = array("q")
    for packed, rows in zip(run.cluster, run.rows, strict=True):
        hashes = read_hashes([packed], [rows])
        starts = range(0, len(hashes), HASH_BYTES)
        keys.extend(int.from_bytes(hashes[start : start + HASH_BYTES], "little") for start in starts)
    return keys


def _sum_numbers(values: Iterable[float]) -> float:
    return math.fsum(value for value in values if is_number(value))


def is_number(value: float) -> bool:
    """Whether a value counts: it is there, and no larger than sums of squares allow."""
    return -MAX_VALUE < value < MAX_VALUE


def _list_extremes(function: Any, *sides: "array[float]") -> list[float]:
    return [function(side, default=0.0) for side in sides]


def _sum_clusters(pairs: Pairs, scored: bytes, differences: "array[float]", mean: float) -> tuple[int, float]:
    """Return the number of clusters, and the sum of the squares of what each deviates from the mean in all."""
    if pairs.clusters is None:
        return 0, 0.0
    sums, counts = array(METRIC_TYPE, bytes(8 * pairs.counts.clusters)), array("I", bytes(4 * pairs.counts.clusters))
    for cluster, difference in zip(compress(pairs.clusters, scored), differences, strict=True):
        sums[cluster] += difference
        counts[cluster] += 1
    squares = math.fsum((total - count * mean) ** 2 for total, count in zip(sums, counts, strict=True))
    return len(counts) - counts.count(0), squares


def _list_flips(
    pairs: Pairs, scored: bytes, differences: "array[float]", left: "array[float]", right: "array[float]"
) -> list[Flip]:
    """Return the first documents that were lost, and the first that were won."""
    places = (compress(column, scored) for column in (pairs.documents, pairs.baseline, pairs.candidate))
    changed = compress(zip(differences, zip(*places, left, right, strict=True), strict=True), differences)
    found: tuple[list[Flip], list[Flip]] = ([], [])
    for difference, flip in changed:
        kind = found[difference > 0.0]
        if len(kind) < MAX_FLIPS:
            kind.append(Flip(*flip))
        elif len(found[0]) == len(found[1]) == MAX_FLIPS:
            break
    return [*found[0], *found[1]]
