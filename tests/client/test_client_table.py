"""The table against what lmms-eval 0.7.3 prints for the same file, and files that lack things."""

from typing import Any

import pytest

from lmms_eval_client import Metric, Results

OUTPUT: dict[str, Any] = {
    "results": {
        "tiny_vqa": {
            "alias": "tiny_vqa",
            "tiny_acc,none": 0.25,
            "tiny_acc_stderr,none": 0.25,
            "tiny_acc_stderr_clt,none": 0.125,
            "tiny_acc_stderr_clustered,none": "N/A",
        },
        "group": {"alias": "group", " ": " ", "loss,strict": 1, "loss_stderr,strict": "N/A"},
    },
    "n-shot": {"tiny_vqa": 0},
    "higher_is_better": {"tiny_vqa": {"tiny_acc": True}, "group": {"loss": False}},
}
PRINTED = """\
|Tasks   |Filter|n-shot|Metric  | | Value| |Stderr|Stderr_CLT|
|--------|------|-----:|--------|-|-----:|-|-----:|---------:|
|tiny_vqa|none  |     0|tiny_acc|↑|0.2500|±|0.2500|    0.1250|
|group   |strict|      |loss    |↓|     1|±|   N/A|       N/A|"""


def test_it_looks_as_lmms_eval_prints_it() -> None:
    assert Results(OUTPUT).table() == str(Results(OUTPUT)) == PRINTED


def test_scores_are_numbers_with_names() -> None:
    assert Results(OUTPUT).scores == {
        "tiny_vqa": {"tiny_acc,none": Metric(value=0.25, stderr=0.25)},
        "group": {"loss,strict": Metric(value=1.0, stderr=None)},
    }


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"results": None},
        {"results": {"t": None}},
        {"results": {"t": {"alias": "t"}}, "n-shot": None, "higher_is_better": {"t": None}},
    ],
)
def test_without_scores_there_is_no_table(output: dict[str, Any]) -> None:
    assert (Results(output).table(), Results(output).scores) == ("", {})


def test_odd_values_do_not_break_it() -> None:
    rows = Results(
        {"results": {"t": {"a,f": None, "b,f": [], "c,f": "x|y\nz", "d,f": {"k": 1}}}, "higher_is_better": None}
    ).rows()
    assert [row["Metric"] for row in rows] == ["a", "b", "c", "d"]
    table = Results({"results": {"t": {"c,f": "x|y\nz", "a,f": None}}}).table()
    assert "x\\|y z" in table and "N/A" in table
