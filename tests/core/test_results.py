import json
import math

import pytest

from lmms_eval_core import results

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
    table = results.score_table(RESULTS, max_bytes=10_000)
    wire = {task: {name: metric.model_dump() for name, metric in metrics.items()} for task, metrics in table.scores.items()}
    assert wire == {
        "tiny_vqa": {"tiny_acc,none": {"value": 0.25, "stderr": 0.0902}},
        "suite": {"score,strict": {"value": None, "stderr": None}},
    }
    assert not table.truncated


def test_what_does_not_fit_is_cut_and_said() -> None:
    table = results.score_table(RESULTS, max_bytes=90)
    assert list(table.scores) == ["tiny_vqa"]
    assert table.truncated


def test_the_summary_names_groups_before_tasks_and_stays_short() -> None:
    scores = results.score_table(RESULTS, max_bytes=10_000).scores
    assert results.summary(RESULTS, scores) == "suite n/a"
    assert results.summary({}, scores) == "tiny_vqa 0.25, suite n/a"
    many = {f"a_rather_long_task_name_{n}": scores["tiny_vqa"] for n in range(9)}
    assert len(results.summary({}, many)) == results.MAX_SUMMARY


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"results": []}', "{", "[" * 100_000])
def test_anything_else_is_not_a_results_file(content: str) -> None:
    with pytest.raises(results.InvalidResults):
        results.parse_results(content)


def test_bare_nan_as_lmms_eval_writes_it_is_read() -> None:
    assert math.isnan(results.parse_results(json.dumps({"results": {"t": {"m,none": math.nan}}}))["results"]["t"]["m,none"])


@pytest.mark.parametrize("groups", [None, 5, [["a"]], "tiny_vqa"])
def test_odd_groups_do_not_matter(groups: object) -> None:
    scores = results.score_table(RESULTS, max_bytes=10_000).scores
    assert results.summary({"groups": groups}, scores) == "tiny_vqa 0.25, suite n/a"


@pytest.mark.parametrize("value", [10**400, True, "0.5", [1], math.inf])
def test_what_is_no_number_is_null(value: object) -> None:
    row = {"results": {"t": {"m,none": value}}}
    assert results.score_table(row, max_bytes=1000).scores["t"]["m,none"].value is None
