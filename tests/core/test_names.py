import re

from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core import names

LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
UID = "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b"
evaluation_names = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def test_the_job_is_named_after_evaluation_uid_and_attempt() -> None:
    assert names.job_name(evaluation="nightly", uid=UID, attempt=2) == "nightly-0f4c6a1e-a2"


@given(evaluation_names, st.integers(1, 99))
def test_a_job_name_leaves_room_for_the_pods_suffix(name: str, attempt: int) -> None:
    job = names.job_name(evaluation=name, uid=UID, attempt=attempt)
    assert LABEL.match(job)
    assert len(f"{job}-abcde") <= names.MAX_NAME
    assert job.endswith(f"-0f4c6a1e-a{attempt}")


@given(evaluation_names, st.integers(1, 11), st.integers(1, 11))
def test_attempts_have_different_jobs(name: str, one: int, other: int) -> None:
    jobs = {names.job_name(evaluation=name, uid=UID, attempt=attempt) for attempt in (one, other)}
    assert len(jobs) == len({one, other})
