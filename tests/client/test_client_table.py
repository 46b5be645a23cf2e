"""The table against what the released lmms-eval prints for the same file, and files that lack things."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from provided import build_bare_environment

from lmms_eval_client import Metric, Results

Printed = Callable[[dict[str, Any]], str]

FLAT: dict[str, Any] = {
    "results": {
        "tiny_vqa": {
            "alias": "tiny_vqa",
            "tiny_acc,none": 0.25,
            "tiny_acc_stderr,none": 0.25,
            "tiny_acc_stderr_clt,none": 0.125,
            "tiny_acc_stderr_clustered,none": "N/A",
        },
        "other": {"alias": "other", " ": " ", "loss,strict": 1, "loss_stderr,strict": "N/A"},
    },
    "n-shot": {"tiny_vqa": 0},
    "higher_is_better": {"tiny_vqa": {"tiny_acc": True}, "other": {"loss": False}},
}
GROUPS = {
    "results": {
        "mmmu": {"alias": "mmmu", "mmmu_acc,none": 0.43777, "mmmu_acc_stderr,none": 0.0123},
        "mmmu_val": {"alias": " - mmmu_val", "mmmu_acc,none": 0.5, "mmmu_acc_stderr,none": 0.25},
    },
    "groups": {"mmmu": {"alias": "mmmu", "mmmu_acc,none": 0.43777, "mmmu_acc_stderr,none": 0.0123}},
    "n-shot": {"mmmu_val": 5},
    "higher_is_better": {"mmmu": {"mmmu_acc": True}, "mmmu_val": {"mmmu_acc": None}},
    "throughput": {"avg_rank": 0, "avg_speed": 0.0, "total_elapsed_time": 8.23331, "total_gen_tokens": 12, "note": "x"},
}
# The last but one is what lmms-eval writes as NaN, and the front end as null.
ODD = {
    "results": {
        "vqav2_test": {
            "alias": "vqav2_test",
            "submission": None,
            "submission,none": None,
            "submission_stderr,none": [],
        },
        "empty": {"alias": "empty", "rows,none": [], "parts,none": {}},
        "007": {"text,none": "a|b\nc", "number,none": "12", "list,none": [1, 0.5], "yes,none": True},
        "日本語": {
            "large,none": 1523.4,
            "small,none": 1e-05,
            "below,none": -0.00001,
            "nothing,none": None,
            "blank,none": "",
        },
    },
    "n-shot": {},
}


@pytest.fixture(scope="module")
def printed(upstream_folder: Path) -> Iterator[Printed]:
    """What lmms-eval prints for a results file."""
    command = [sys.executable, str(ROOT / "tests" / "support" / "upstream" / "upstream_table.py")]
    environment = {**build_bare_environment(), "PYTHONPATH": str(upstream_folder)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(results: dict[str, Any]) -> str:
            stdin.write(json.dumps(results) + "\n")
            stdin.flush()
            return str(json.loads(stdout.readline()))

        yield ask


@pytest.mark.parametrize(
    "output", [FLAT, GROUPS, ODD, {"results": {}, "n-shot": {}}], ids=["flat", "groups", "odd", "none"]
)
def test_it_is_what_lmms_eval_prints(output: dict[str, Any], printed: Printed) -> None:
    assert Results(output).table() + "\n\n" == printed(output)
    assert str(Results(output)) == Results(output).table()


VALUES = st.one_of(
    st.floats(-1e6, 1e6),
    st.floats(0, 1),
    st.integers(-9999, 9999),
    st.booleans(),
    st.none(),
    st.sampled_from(["", "N/A", "0.5", "a|b"]),
)
UNCERTAINTIES = st.one_of(st.floats(0, 1), st.none(), st.sampled_from([0, "N/A", []]))
ENDINGS = ("_stderr", "_stderr_clt", "_stderr_clustered", "_expected_accuracy", "_internal_variance")
TASKS = st.sampled_from(["mme", " - mmmu_val", "日本語", "3.50", "a_task_with_a_long_name"])


@st.composite
def metrics(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = draw(st.fixed_dictionaries({}, optional={"alias": TASKS}))
    for metric in draw(st.lists(st.sampled_from(["acc", "f1", "loss", "submission"]), unique=True)):
        name = draw(st.sampled_from(["none", "strict-match"]))
        found[f"{metric},{name}"] = draw(VALUES)
        for ending in draw(st.lists(st.sampled_from(ENDINGS), unique=True)):
            found[f"{metric}{ending},{name}"] = draw(UNCERTAINTIES)
    return found


@settings(max_examples=50)
@given(
    output=st.fixed_dictionaries(
        {"results": st.dictionaries(TASKS, metrics()), "n-shot": st.dictionaries(TASKS, st.integers(0, 9))},
        optional={
            "groups": st.dictionaries(TASKS, metrics()),
            "higher_is_better": st.dictionaries(
                TASKS, st.dictionaries(st.sampled_from(["acc", "loss"]), st.sampled_from([True, False, None]))
            ),
            "throughput": st.dictionaries(st.sampled_from(["total_gen_tokens", "avg_speed", "rank"]), UNCERTAINTIES),
        },
    )
)
def test_whatever_the_results_are(output: dict[str, Any], printed: Printed) -> None:
    assert Results(output).table() + "\n\n" == printed(output)


def test_scores_are_numbers_with_names() -> None:
    assert Results(FLAT).scores == {
        "tiny_vqa": {"tiny_acc,none": Metric(value=0.25, stderr=0.25)},
        "other": {"loss,strict": Metric(value=1.0, stderr=None)},
    }


@pytest.mark.parametrize("output", [{}, {"results": None}, {"results": []}])
def test_without_results_there_is_no_table(output: dict[str, Any]) -> None:
    assert (Results(output).table(), Results(output).scores) == ("", {})


def test_a_file_that_lmms_eval_could_not_print_does_no_harm() -> None:
    lacking: dict[str, Any] = {
        "results": {"t": None, "u": {"a,f": None}},
        "n-shot": None,
        "higher_is_better": {"u": None},
        "throughput": [],
    }
    (row,) = Results(lacking).rows()
    assert (row["Metric"], row["Value"], row["n-shot"]) == ("a", None, " ")
    assert Results(lacking).table().count("\n") == 2
