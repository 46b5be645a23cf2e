from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.layout import ArtifactPrefix, sample_file, segment

UID = "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b"


def test_an_attempt_has_a_prefix_below_its_evaluation() -> None:
    prefix = ArtifactPrefix("team", "nightly", UID, 2)
    assert prefix.evaluation == "team/nightly-0f4c6a1e/"
    assert prefix.file("results.json") == "team/nightly-0f4c6a1e/a2/results.json"


@given(st.text())
def test_a_segment_never_leaves_its_folder(text: str) -> None:
    name = segment(text)
    assert name and "/" not in name and name.strip(".")
    assert sample_file(text).count("/") == 1
