"""Documents of two indexes in pairs: which count, and what their values say."""

import json
import math
import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.compare import columns
from lmms_eval_core.compare.columns import (
    DocumentColumns,
    MetricSums,
    PairCounts,
    Pairs,
    ValueColumns,
    pair_documents,
    sum_pairs,
)
from lmms_eval_core.compare.difference import Method
from lmms_eval_core.sample_index import format as index_format
from lmms_eval_core.sample_index.format import COLUMNS, DamagedIndex, IndexHeader, decode_header
from lmms_eval_core.sample_index.writer import SampleIndexWriter
from lmms_eval_core.sample_scoring import FAILED_MARK, SampledTask, ScoringCriteria

TASK = SampledTask(ScoringCriteria({"acc": False, "wer": True}), ("none",), cluster_key="video")
Sample = dict[str, Any]


class Index:
    """An index of samples, as the store has it."""

    def __init__(self, samples: Sequence[Sample], task: SampledTask = TASK) -> None:
        writer = SampleIndexWriter(task)
        for sample in samples:
            writer.add(json.dumps(sample).encode(), 0, 0)
        self._content = writer.finish()
        self._header = decode_header(self._content, len(self._content))

    @property
    def rows(self) -> list[int]:
        return [zone.rows for zone in self._header.zones]

    def read(self, place: int) -> list[bytes]:
        starts = [zone.start + sum(zone.sizes[:place]) for zone in self._header.zones]
        return [
            self._content[start : start + zone.sizes[place]]
            for start, zone in zip(starts, self._header.zones, strict=True)
        ]

    def documents(self, filter_number: int = 0) -> DocumentColumns:
        names = ("document", "filter", "target", "input", "cluster")
        return DocumentColumns(self.rows, filter_number, *(self.read(list(COLUMNS).index(name)) for name in names))

    def values(self, metric: str, filter_number: int = 0) -> ValueColumns:
        header: IndexHeader = self._header
        place = header.find_metric(metric)
        assert place is not None
        parts = (self.read(at) for at in (header.find_column("filter"), header.find_column("flags"), place))
        return ValueColumns(self.rows, filter_number, *parts)


def make_sample(number: Any, acc: Any, **fields: Any) -> Sample:
    return {"doc_id": number, "target": "A", "input": "?", "filtered_resps": ["A"], "acc": acc, **fields}


def make_run(values: Sequence[Any]) -> Index:
    return Index([make_sample(number, value) for number, value in enumerate(values)])


def sum_metric(baseline: Index, candidate: Index, metric: str = "acc", *, number: int = 0) -> MetricSums:
    pairs = pair_documents(baseline.documents(number), candidate.documents(number))
    lower = metric == "wer"
    return sum_pairs(pairs, baseline.values(metric, number), candidate.values(metric, number), lower_is_better=lower)


def list_rows(pairs: Pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.baseline, pairs.candidate, strict=True))


def test_what_counts() -> None:
    # D1 of the worked examples: NaN, null, another target, another prompt, a document of one run alone.
    old = [(0, 1.0), (1, float("nan")), (2, True), (3, 0.0), (5, 1)]
    new: list[tuple[int, Any, dict[str, str]]] = [
        (0, 0.0, {"input": "y"}),
        (1, 1.0, {}),
        (2, None, {}),
        (3, 1.0, {"target": "B"}),
        (4, 1.0, {}),
        (5, 1, {}),
    ]
    baseline = Index([make_sample(*each) for each in old])
    candidate = Index([make_sample(number, value, **fields) for number, value, fields in new])
    pairs = pair_documents(baseline.documents(), candidate.documents())
    assert pairs.counts == PairCounts(matched=4, only_candidate=1, other_target=1, other_input=1)
    sums = sum_metric(baseline, candidate)
    assert (sums.pairs, sums.lost, sums.won, sums.is_binary) == (2, 1, 0, True)
    assert (sums.unscored_baseline, sums.unscored_candidate) == (1, 1)
    assert [flip[:3] for flip in sums.flips] == [(0, 0, 0)]


def test_lower_may_be_better() -> None:
    # D2: a rise of an error rate is a loss.
    rates = [0.10, 0.20, 0.05, 0.30, 0.12, 0.25], [0.12, 0.22, 0.05, 0.33, 0.11, 0.31]
    runs = [Index([make_sample(at, 1, wer=rate) for at, rate in enumerate(side)]) for side in rates]
    sums = sum_metric(runs[0], runs[1], "wer")
    found = sums.compare(level=0.95)
    assert (found.estimate, found.p) == pytest.approx((-0.02, 0.10193947882985832), abs=1e-9)
    assert (sums.lost, sums.won, sums.is_binary, sums.reach) == (4, 1, False, 1.0)


def test_failed_answers_have_no_value_and_empty_ones_are_wrong() -> None:
    baseline = make_run([1.0, 1.0, 1.0])
    failed = make_sample(1, 0.0, filtered_resps=[f"{FAILED_MARK}] 503"])
    candidate = Index([make_sample(0, 1.0), failed, make_sample(2, 0.0, filtered_resps=[""])])
    sums = sum_metric(baseline, candidate)
    assert (sums.pairs, sums.lost, sums.unscored_candidate) == (2, 1, 1)
    # The harness's own mean counts all three.
    assert sums.candidate.values == 3 and sums.candidate.mean == pytest.approx(1 / 3)


def test_nothing_in_common() -> None:
    empty = Index([])
    assert pair_documents(empty.documents(), empty.documents()).counts == PairCounts(0)
    assert pair_documents(make_run([1]).documents(), empty.documents()).counts == PairCounts(0, only_baseline=1)
    sums = sum_metric(empty, empty)
    assert (sums.pairs, sums.baseline.values, sums.compare(level=0.95).estimate) == (0, 0, None)


@pytest.mark.parametrize("value", [10**400, 1e300, float("inf"), "1", None, [1.0], {"other": 1.0}])
def test_what_is_no_value(value: Any) -> None:
    sums = sum_metric(make_run([1.0, value]), make_run([value, 1.0]))
    assert (sums.pairs, sums.unscored_baseline, sums.unscored_candidate) == (0, 1, 1)
    assert sums.compare(level=0.95).limits is None


def test_the_order_of_lines_plays_no_part() -> None:
    shuffled = random.Random(1)
    numbers = list(range(500))
    old = [make_sample(number, number % 2) for number in numbers if number % 7]
    new = [make_sample(number, number % 3 == 0) for number in numbers if number % 5]
    shuffled.shuffle(new)
    pairs = pair_documents(Index(old).documents(), Index(new).documents())
    wanted = [number for number in numbers if number % 7 and number % 5]
    assert list(pairs.documents) == wanted
    assert [(old[a]["doc_id"], new[b]["doc_id"]) for a, b in list_rows(pairs)] == [(n, n) for n in wanted]
    assert pairs.counts.only_baseline == len(old) - len(wanted)


def test_many_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmms_eval_core.sample_index.writer.ZONE_ROWS", 64)
    monkeypatch.setattr(index_format, "ZONE_ROWS", 64)
    monkeypatch.setattr(columns, "_SORTED_AT_ONCE", 50)
    shuffled, old = random.Random(2), [make_sample(number, number % 2) for number in range(200)]
    new = [make_sample(number, 1) for number in range(200)]
    shuffled.shuffle(old)
    baseline, candidate = Index(old), Index(new)
    assert len(baseline.rows) == 4
    sums = sum_metric(baseline, candidate)
    assert (sums.pairs, sums.lost, sums.won, sums.baseline.mean) == (200, 0, 100, 0.5)


def test_lines_of_one_document_pair_in_their_order() -> None:
    documents = [3, "a", None, "a", 3, None]
    baseline = Index([make_sample(name, 1) for name in documents])
    candidate = Index([make_sample(name, 0) for name in ("a", "a", 3, 3, None, None, None)])
    pairs = pair_documents(baseline.documents(), candidate.documents())
    assert sorted(list_rows(pairs)) == [(0, 2), (1, 0), (2, 4), (3, 1), (4, 3), (5, 5)]
    assert pairs.counts.only_candidate == 1


def test_filters_are_compared_each_by_itself() -> None:
    task = TASK._replace(filters=("strict", "flexible"))
    old = [make_sample(number, 1) for number in (0, 1, 2)] + [make_sample(number, 0) for number in (0, 1, 2)]
    new = [make_sample(number, 1) for number in (1, 2)] + [make_sample(number, 1) for number in (1, 2)]
    runs = Index(old, task), Index(new, task)
    strict, flexible = (sum_metric(*runs, number=number) for number in (0, 1))
    assert (strict.pairs, strict.won, strict.baseline) == (2, 0, (3, 1.0))
    assert (flexible.pairs, flexible.won, flexible.baseline) == (2, 2, (3, 0.0))


def make_clustered(clusters: Sequence[Any], values: Sequence[float]) -> Index:
    metrics = [{"score": value, "video": cluster} for cluster, value in zip(clusters, values, strict=True)]
    return Index([make_sample(number, metric) for number, metric in enumerate(metrics)])


def test_clusters() -> None:
    # C2 of the worked examples: 36 questions of 12 videos.
    changes = [1, 1, 1, -1, 0, 0, -1, -1, -1, 0, 0, 0, -1, -1, -1, 1, 1, 0, *[0] * 6, -1, 0, 0, -1, 0, -1, *[0] * 6]
    clusters = [f"video {number // 3}" for number in range(36)]
    old, new = [1.0 * (change < 0) for change in changes], [1.0 * (change > 0) for change in changes]
    runs = make_clustered(clusters, old), make_clustered(clusters, new)
    found = sum_metric(*runs).compare(level=0.95)
    assert (found.method, found.units, found.pairs) == (Method.CLUSTERED_T, 12, 36)
    assert (found.stderr, found.p) == pytest.approx((0.17143842497468362, 0.4350367715669812), abs=1e-9)
    assert found.limits is not None and found.limits.lower == pytest.approx(-0.6092057286503403, abs=1e-9)


@pytest.mark.parametrize(
    ("clusters", "known"),
    [
        # Categories, one cluster, a document each, and a document without one.
        ([number % 9 for number in range(40)], 9),
        ([0] * 40, 1),
        (list(range(40)), 40),
        ([None, *range(12), *range(12), *range(12), 1, 2, 3], 0),
    ],
)
def test_what_are_no_clusters(clusters: Sequence[Any], known: int) -> None:
    runs = make_clustered(clusters, [1.0] * 40), make_clustered(clusters, [0.0] * 40)
    pairs = pair_documents(*(run.documents() for run in runs))
    assert (pairs.clusters, pairs.counts.clusters) == (None, known)
    assert sum_metric(*runs).compare(level=0.95).method is Method.MCNEMAR


def test_clusters_that_lose_all_values_do_not_count() -> None:
    clusters = [number // 2 for number in range(24)]
    old = make_clustered(clusters, [1.0, float("nan")] * 12)
    new = make_clustered(clusters, [0.5, 0.5, float("nan"), 0.5] * 6)
    assert sum_metric(old, new).compare(level=0.95).units == 6


def test_the_range_of_values() -> None:
    assert sum_metric(make_run([0.2, 5.0]), make_run([0.4, 1000.0])).reach == 1000.0
    assert sum_metric(make_run([-3.0, 0.0]), make_run([0.0, 0.5])).reach == 4.0


def test_changed_documents_are_told_up_to_a_number() -> None:
    size = columns.MAX_FLIPS + 50
    sums = sum_metric(make_run([1.0] * size + [0.0] * 3), make_run([0.0] * size + [1.0] * 3))
    assert (sums.lost, sums.won, len(sums.flips)) == (size, 3, columns.MAX_FLIPS + 3)
    assert sums.flips[-1] == (size + 2, size + 2, size + 2, 0.0, 1.0)


VALUES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1), st.floats(-1e3, 1e3), st.none())
RUNS = st.dictionaries(st.integers(0, 40), VALUES, max_size=30)


@given(RUNS, RUNS, st.booleans())
def test_sums_are_what_a_plain_count_says(old: dict[int, Any], new: dict[int, Any], lower: bool) -> None:
    runs = [Index([make_sample(at, value) for at, value in run.items()]) for run in (old, new)]
    pairs = pair_documents(*(run.documents() for run in runs))
    sums = sum_pairs(pairs, *(run.values("acc") for run in runs), lower_is_better=lower)
    both = [at for at in sorted(old.keys() & new.keys()) if old[at] is not None and new[at] is not None]
    differences = [(old[at] - new[at]) if lower else (new[at] - old[at]) for at in both]
    mean = math.fsum(differences) / len(both) if both else 0.0
    assert sums.pairs == len(both) and sums.mean == pytest.approx(mean)
    assert sums.squares == pytest.approx(sum((each - mean) ** 2 for each in differences))
    assert sums.lost == sum(each < 0 for each in differences) and sums.won == sum(each > 0 for each in differences)
    assert sums.is_binary == all(run[at] in (0.0, 1.0) for run in (old, new) for at in both)
    found = sums.compare(level=0.975)
    if found.limits is not None and found.estimate is not None:
        assert found.limits.lower < found.limits.upper
        assert found.limits.lower <= found.estimate <= found.limits.upper


@given(st.binary(max_size=40))
def test_bytes_that_are_no_column(content: bytes) -> None:
    good = make_run([1.0, 0.0])
    bad: dict[str, Any]
    for name in ("document", "filter", "target", "input", "cluster"):
        bad = {name: [content]}
        with pytest.raises(DamagedIndex):
            pair_documents(good.documents(), good.documents()._replace(**bad))
    pairs = pair_documents(good.documents(), good.documents())
    for name in ("filter", "flags", "values"):
        bad = {name: [content]}
        with pytest.raises(DamagedIndex):
            sum_pairs(pairs, good.values("acc")._replace(**bad), good.values("acc"), lower_is_better=False)


def test_a_run_beside_itself() -> None:
    run = make_run(list(chain([1.0] * 30, [0.0] * 20)))
    found = sum_metric(run, run).compare(level=0.975)
    assert (found.estimate, found.p) == (0.0, 1.0)
    assert found.limits is not None and found.limits.lower == pytest.approx(-found.limits.upper) and found.limits.upper
