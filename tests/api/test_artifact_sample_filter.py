"""Which samples are wrong, and which are empty."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.artifacts.results import StoredResults, parse_results_file
from lmms_eval_api.artifacts.sample_filter import Filter, SampleSelection, make_predicate
from lmms_eval_core.results_file import InvalidResults
from lmms_eval_core.sample_scoring import ScoringCriteria, is_empty, is_wrong, read_criteria

RESULTS: dict[str, Any] = {
    "results": {
        "mme": {"alias": "mme", "mme_perception_score,none": 1500.0, "mme_perception_score_stderr,none": "N/A"},
        "asr": {"wer,none": 0.1, "wer_stderr_clt,none": 0.1, "exact_match,strict": 0.5, "bypass,none": 999},
        "odd": "no row",
        "group": {"alias": "group", " ": " "},
    },
    "higher_is_better": {
        "asr": {"wer": False, "exact_match": True, "cer": False},
        "mme": {"mme_perception_score": None},
    },
    "configs": {"mme": {"score_key": "points"}, "asr": {"score_key": 3}},
}


def test_the_results_file_says_how_a_task_is_scored() -> None:
    assert read_criteria(RESULTS) == {
        "mme": ScoringCriteria({"mme_perception_score": False}, "points"),
        "asr": ScoringCriteria({"cer": True, "exact_match": False, "wer": True}),
        "odd": ScoringCriteria({}),
        "group": ScoringCriteria({}),
    }
    assert read_criteria({}) == read_criteria({"results": []}) == {}


ASR = read_criteria(RESULTS)["asr"]
MME = read_criteria(RESULTS)["mme"]


@pytest.mark.parametrize(
    ("sample", "how", "wrong"),
    [
        ({"exact_match": 1.0, "wer": 0.0}, ASR, False),
        ({"exact_match": 1, "wer": 0.01}, ASR, True),
        ({"exact_match": 0.99, "wer": 0}, ASR, True),
        ({"exact_match": False}, ASR, True),
        ({"exact_match": True}, ASR, False),
        ({"exact_match": 4.5}, ASR, False),
        ({"exact_match": float("nan")}, ASR, None),
        ({"exact_match": "1"}, ASR, None),
        ({"exact_match": [0, 1]}, ASR, None),
        ({"exact_match": {"answer": "B", "parsed_pred": ["A"]}}, ASR, None),
        ({"target": 0, "doc_id": 0}, ASR, None),
        ({"mme_perception_score": {"points": 0, "score": 1}}, MME, True),
        ({"mme_perception_score": {"score": 1.0}}, MME, False),
        ({"mme_perception_score": {"score": {"score": 0}}}, MME, None),
        ([], ASR, None),
        (None, ASR, None),
    ],
)
def test_a_sample_is_wrong_when_a_metric_falls_short(sample: Any, how: ScoringCriteria, wrong: bool | None) -> None:
    assert is_wrong(sample, how) is wrong


@pytest.mark.parametrize(
    ("sample", "empty"),
    [
        ({"filtered_resps": ""}, True),
        ({"filtered_resps": " \n\t"}, True),
        ({"filtered_resps": "A", "resps": ""}, False),
        ({"filtered_resps": "", "resps": "thought about it"}, True),
        ({"resps": [["", " "], []]}, True),
        ({"resps": ["", "A"]}, False),
        ({"filtered_resps": [["-1.5", "False"], ["-2.0", "True"]]}, False),
        ({"filtered_resps": None}, True),
        ({"filtered_resps": 0}, False),
        ({}, True),
        ("text", None),
    ],
)
def test_a_sample_is_empty_when_all_answers_are(sample: Any, empty: bool | None) -> None:
    assert is_empty(sample) is empty


def test_lines_are_judged() -> None:
    wrong, empty = make_predicate(SampleSelection(Filter.WRONG, ASR)), make_predicate(SampleSelection(Filter.EMPTY))
    assert wrong and empty and make_predicate(SampleSelection(None, ASR)) is None
    line = json.dumps({"exact_match": 0.0, "filtered_resps": ""}).encode()
    assert (wrong(line), empty(line)) == (True, True)
    for broken in (b"{", b"[" * 100_000, b"\xff"):
        assert (wrong(broken), empty(broken)) == (None, None)
    unknown = make_predicate(SampleSelection(Filter.WRONG))
    assert unknown and unknown(line) is None


@given(
    st.dictionaries(st.sampled_from(["wer", "exact_match", "cer"]), st.floats(0, 1)),
    st.sampled_from(["wer", "exact_match", "cer"]),
)
def test_a_better_number_makes_no_right_sample_wrong(sample: dict[str, float], name: str) -> None:
    perfect = 0.0 if ASR.lower_is_better[name] else 1.0
    before, after = is_wrong(sample, ASR), is_wrong(sample | {name: perfect}, ASR)
    assert after is not None and (after is False or before is True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a,none", "b", "score_key"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["results", "higher_is_better", "configs", "x"]), json_values), json_values)
def test_whatever_a_run_wrote_is_read_or_refused(written: dict[str, Any], sample: Any) -> None:
    try:
        text, packed = parse_results_file(json.dumps(written).encode())
    except InvalidResults:
        return
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    for task in written["results"]:
        how = StoredResults(text, packed, ()).find_criteria(task)
        for only in Filter:
            judge = make_predicate(SampleSelection(only, how))
            assert judge is not None and judge(json.dumps(sample).encode()) in (True, False, None)
