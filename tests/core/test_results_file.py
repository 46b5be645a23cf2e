import math

import pytest

from lmms_eval_core import results_file

RESULTS = {
    "results": {
        "tiny_vqa": {
            "alias": "tiny_vqa",
            "tiny_acc,none": 0.25,
            "tiny_acc_stderr,none": 0.0902,
            "tiny_acc_stderr_clt,none": 0.09,
            "tiny_acc_stderr_clustered,none": "N/A",
        },
        "suite": {" ": " ", "alias": "suite", "score,strict": math.nan, "score_stderr,strict": "N/A"},
        "placeholder": {" ": " ", "alias": "placeholder"},
    },
    "groups": {"suite": {}},
}


def test_scores_keep_filter_names_and_say_where_there_is_no_number() -> None:
    table = results_file.build_score_table(RESULTS, max_bytes=10_000)
    wire = {
        task: {name: metric.model_dump() for name, metric in metrics.items()} for task, metrics in table.scores.items()
    }
    assert wire == {
        "tiny_vqa": {"tiny_acc,none": {"value": 0.25, "stderr": 0.0902}},
        "suite": {"score,strict": {"value": None, "stderr": None}},
    }
    assert table.omitted == []


def test_what_does_not_fit_is_cut_and_said() -> None:
    table = results_file.build_score_table(RESULTS, max_bytes=90)
    assert list(table.scores) == ["tiny_vqa"]
    assert table.omitted == ["suite"]


def test_the_summary_names_groups_before_tasks_and_stays_short() -> None:
    scores = results_file.build_score_table(RESULTS, max_bytes=10_000).scores
    assert results_file.summarise(RESULTS, scores) == "suite n/a"
    assert results_file.summarise({}, scores) == "tiny_vqa 0.25, suit…"
    many = {f"a_rather_long_task_name_{n}": scores["tiny_vqa"] for n in range(9)}
    assert len(results_file.summarise({}, many)) == results_file.MAX_SUMMARY


def test_what_was_asked_for_comes_first() -> None:
    rows = {f"a_{n}": {"m,none": n} for n in range(600)} | {"mmmu_val": {"m,none": 1}, "mme": {"m,none": 2}}
    table = results_file.build_score_table({"results": rows}, asked=["mme", "mmmu*"])
    assert list(table.scores)[:3] == ["mme", "mmmu_val", "a_0"]
    assert len(table.scores) == results_file.MAX_TASKS and table.omitted == [f"a_{n}" for n in range(510, 600)]
    assert len(results_file.build_score_table({"results": rows}, max_tasks=None).scores) == 602


def test_what_is_small_still_fits_behind_what_does_not() -> None:
    rows = {"large": {f"m{n},none": n for n in range(100)}, "small": {"m,none": 1}}
    table = results_file.build_score_table({"results": rows}, max_bytes=200)
    assert (list(table.scores), table.omitted) == (["small"], ["large"])


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"results": []}', b"{", b"[" * 100_000, b'{"results": {"t": "\xe4"}}'],
)
def test_anything_else_is_not_a_results_file(content: bytes) -> None:
    with pytest.raises(results_file.InvalidResults):
        results_file.parse_results(content)


def test_bare_nan_as_lmms_eval_writes_it_is_read() -> None:
    assert math.isnan(results_file.parse_results(b'{"results": {"t": {"m,none": NaN}}}')["results"]["t"]["m,none"])


@pytest.mark.parametrize("groups", [None, 5, [["a"]], "tiny_vqa"])
def test_odd_groups_do_not_matter(groups: object) -> None:
    scores = results_file.build_score_table(RESULTS, max_bytes=10_000).scores
    assert results_file.summarise({"groups": groups}, scores) == "tiny_vqa 0.25, suit…"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"results": {%s}}' % b",".join(b'"t%d":{}' % n for n in range(1_200_000)), "values"),
        (b'{"results": {%s}}' % b",".join(b'"t%d":{}' % n for n in range(30_000)), "tasks and groups"),
        (b'{"results": {}, "x": %s}' % (b"[" * 200 + b"]" * 200), "levels"),
    ],
    ids=["values", "tasks", "levels"],
)
def test_a_results_file_that_would_fill_a_memory_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(results_file.InvalidResults, match=words):
        results_file.parse_results(content)


def test_a_number_of_5000_digits_is_none() -> None:
    parsed = results_file.parse_results(b'{"results": {"t": {"m,none": %s, "n,none": 1}}}' % (b"9" * 5000))
    scores = results_file.build_score_table(parsed).scores
    assert (scores["t"]["m,none"].value, scores["t"]["n,none"].value) == (None, 1)


@pytest.mark.parametrize("value", [10**400, "0.5", [1], {}, {"a": "x"}, None, math.inf])
def test_what_is_no_number_is_null(value: object) -> None:
    row = {"results": {"t": {"m,none": value}}}
    assert results_file.build_score_table(row, max_bytes=1000).scores["t"]["m,none"].value is None


@pytest.mark.parametrize(("value", "number"), [(True, 1.0), (False, 0.0)])
def test_a_bool_is_a_number(value: bool, number: float) -> None:
    assert results_file.build_score_table({"results": {"t": {"m,none": value}}}).scores["t"]["m,none"].value == number


def test_the_numbers_of_a_mapping_stand_under_their_names() -> None:
    row = {
        "bleu,none": {"1": 0.4, "4": 0.1, "by": {"split": 3, "note": "x"}, "pass": True},
        "bleu_stderr,none": {"4": 0.02},
    }
    scores = results_file.build_score_table({"results": {"t": row}}).scores["t"]
    assert {name: (metric.value, metric.stderr) for name, metric in scores.items()} == {
        "bleu.1,none": (0.4, None),
        "bleu.4,none": (0.1, 0.02),
        "bleu.by.split,none": (3, None),
        "bleu.pass,none": (1, None),
    }


@pytest.mark.parametrize("first", ["word", ["a"], {"x": "word"}, None, math.nan])
def test_the_summary_shows_the_first_metric_that_has_a_number(first: object) -> None:
    found = {"results": {"t": {"submission,none": first, "acc,none": 0.25}}}
    assert results_file.summarise(found, results_file.build_score_table(found).scores) == "t 0.25"
