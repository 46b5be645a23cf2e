import json
from typing import Any

import pytest
from evaluation_objects import build_evaluation_object
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import evaluations

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.identity import Sender
from lmms_eval_api.jobs.job_info import NOT_A_SCALAR, ORIGINAL_FIELDS, make_job_info, make_job_summary, make_request
from lmms_eval_api.jobs.snapshot import UNREADABLE, make_snapshot
from lmms_eval_api.jobs.submission import prepare_submission
from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.status import RESULTS_SUSPECT
from lmms_eval_core.wire import EnvVar, EvaluateRequest, JobInfo, Resources, SecretKeyRef, Suspect, Volume


def shown(position: int | None = None, **fields: Any) -> JobInfo:
    return make_job_info(make_snapshot(build_evaluation_object(**fields)), position=position)


@pytest.mark.parametrize(
    ("phase", "cancel", "status"),
    [
        ("Queued", False, "queued"),
        ("Queued", True, "cancelled"),
        ("Running", False, "running"),
        ("Running", True, "running"),
        ("Completed", True, "completed"),
        ("Failed", False, "failed"),
        ("Cancelled", True, "cancelled"),
    ],
)
def test_the_five_states(phase: str, cancel: bool, status: str) -> None:
    assert shown(phase=phase, cancel=cancel).status == status


def test_every_phase_has_a_state() -> None:
    assert {shown(phase=phase.value).status for phase in Phase} == {
        "queued",
        "running",
        "completed",
        "failed",
        "cancelled",
    }


def test_a_queued_one() -> None:
    info = shown(position=3)
    assert (info.position_in_queue, info.reason, info.started_at, info.error) == (3, "WaitingForTurn", None, None)
    assert info.created_at == "2026-01-01T00:00:00Z"


def test_what_an_attempt_has_from_earlier_ones_is_told_in_the_words_of_the_wire() -> None:
    resumed = {"answers": 120, "fromAttempt": 1, "exactness": "exact"}
    progress = {"stage": "Evaluating", "updatedAt": "2026-01-01T00:01:00Z", "kept": 7, "resumed": resumed}
    attempts = [
        {"number": 1, "jobName": "a-1", "reason": "Preempted", "free": True, "startedAnew": "packages differ"},
        {"number": 2, "jobName": "a-2", "resumed": resumed, "notKept": "No space left on device"},
    ]
    job = {"progress": progress, "attempts": attempts}
    told = {"answers": 120, "from_attempt": 1, "exactness": "exact"}
    info = json.loads(shown(phase="Running", status=job).model_dump_json())
    assert (info["progress"]["resumed"], info["progress"]["kept"]) == (told, 7)
    assert [attempt["resumed"] for attempt in info["attempts"]] == [None, told]
    assert (info["attempts"][0]["free"], info["attempts"][0]["started_anew"]) == (True, "packages differ")
    assert info["attempts"][1]["not_kept"] == "No space left on device"
    anew = {"stage": "Evaluating", "startedAnew": "packages differ", "notKept": "an unknown adapter"}
    found = shown(phase="Running", status={"progress": anew}).progress
    assert found is not None and (found.started_anew, found.resumed) == ("packages differ", None)
    assert found.not_kept == "an unknown adapter"


def test_a_running_one_shows_its_progress_in_the_words_of_the_wire() -> None:
    progress = {
        "stage": "Evaluating",
        "completed": 3,
        "total": 8,
        "etaSeconds": 12,
        "updatedAt": "2026-01-01T00:01:00Z",
    }
    info = shown(
        phase="Running", status={"reason": "Evaluating", "startedAt": "2026-01-01T00:00:30Z", "progress": progress}
    )
    assert info.progress is not None
    assert (info.progress.stage, info.progress.eta_seconds, info.started_at) == (
        "Evaluating",
        12,
        "2026-01-01T00:00:30Z",
    )


def test_a_completed_one_carries_its_scores_nulls_included() -> None:
    scores = {"mme": {"score,none": {"value": 0.5, "stderr": None}}}
    info = shown(
        phase="Completed", status={"reason": "Succeeded", "completedAt": "2026-01-01T01:00:00Z", "scores": scores}
    )
    assert json.loads(info.model_dump_json())["scores"] == scores
    assert (info.completed_at, info.error) == ("2026-01-01T01:00:00Z", None)


@pytest.mark.parametrize(
    ("scores", "summary", "main"),
    [
        ({"b": {"z": 0.5, "a": 1250.5}, "a": {"z": 1.0}}, "b 0.5, a 1", ("b", "z", 0.5)),
        ({"a": {"z": 0.123456}, "a b": {"z": 0.5}}, "a b 0.5, a 0.1235", ("a b", "z", 0.5)),
        ({"a": {"y": None, "z": 0.5}}, "a_long_name_that_was_cut_of…", ("a", "z", 0.5)),
        ({"a": {"y": None}}, "a n/a", None),
        ({}, "", None),
    ],
)
def test_the_score_in_a_list_is_that_with_which_the_summary_begins(
    scores: dict[str, dict[str, float | None]], summary: str, main: tuple[str, str, float] | None
) -> None:
    status = {
        "scores": {
            task: {metric: {"value": value, "stderr": 0.1} for metric, value in metrics.items()}
            for task, metrics in scores.items()
        },
        "summary": summary,
    }
    listed = make_job_summary(
        make_snapshot(build_evaluation_object(phase="Completed", status=status)), position=None
    ).score
    assert (listed and (listed.task, listed.metric, listed.value)) == main
    assert listed is None or listed.stderr == 0.1


def test_a_failed_one_says_why_to_a_client_that_prints_the_error_alone() -> None:
    error = {"class": "TaskNotFound", "message": "no such task", "logTail": "ValueError: Tasks not found: nope"}
    info = shown(
        phase="Failed", status={"reason": "TaskNotFound", "message": "lmms-eval has no task 'nope'.", "error": error}
    )
    assert info.error == (
        "TaskNotFound: lmms-eval has no task 'nope'.\nLast lines of the log:\nValueError: Tasks not found: nope"
    )


def test_an_error_without_a_sentence_is_still_one() -> None:
    assert shown(phase="Failed", status={"reason": "NodeLost"}).error == "NodeLost: The evaluation failed."


def test_a_cancelled_one_in_the_queue_reads_like_any_cancelled_one() -> None:
    info = shown(cancel=True)
    assert (info.status, info.reason, info.message) == (
        "cancelled",
        Reason.CANCELLED_BY_USER,
        "Cancelled before it started.",
    )


def test_the_request_is_repeated_as_it_was_sent() -> None:
    request = EvaluateRequest(model="llava_hf", tasks=["mme,ai2d"], limit=8, device="cpu", output_dir="/results")
    body = prepare_submission(request, sender=Sender("me", None, "a"), namespace="team").body
    annotations = body["metadata"]["annotations"]
    assert shown(annotations=annotations, **body["spec"]).request == request.model_dump(include=set(ORIGINAL_FIELDS))


def test_of_what_the_original_does_not_have_the_request_repeats_what_was_sent() -> None:
    request = EvaluateRequest(model="llava_hf", tasks=["mme"], seed=0, hold=False, env=[EnvVar(name="A", value="b")])
    body = prepare_submission(request, sender=Sender("me", None, "a"), namespace="team").body
    repeated = shown(annotations=body["metadata"]["annotations"], **body["spec"]).request
    assert {key: value for key, value in repeated.items() if key not in ORIGINAL_FIELDS} == {
        "seed": 0,
        "env": [{"name": "A", "value": "b"}],
    }


@pytest.mark.parametrize("text", ["", "not json", "[1]", '"text"', "null"])
def test_an_annotation_that_is_no_request_is_not_believed(text: str) -> None:
    info = shown(annotations={names.ANNOTATION_REQUEST: text}, numFewshot=2)
    assert info.request["num_fewshot"] == 2


def stored(**fields: Any) -> dict[str, Any]:
    """What an object needs to be the one that this request made."""
    request = EvaluateRequest.model_validate({"model": "llava_hf", "tasks": ["mme"], **fields})
    body = prepare_submission(request, sender=Sender("me", None, "a"), namespace="team").body
    return {"annotations": body["metadata"]["annotations"], **body["spec"]}


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "another"},
        {"modelArgs": {"pretrained": "b"}},
        {"tasks": ["mme", "ai2d"]},
        {"gpus": 2},
        {"limit": 9},
        {"seed": 1},
    ],
)
def test_of_a_copy_that_was_changed_the_request_is_what_it_asks_for(changed: dict[str, Any]) -> None:
    copied = stored(model_args={"pretrained": "a"}, limit=8, output_dir="/results") | changed
    info = shown(**copied)
    copied.pop("annotations")
    assert info.request == make_request(copied | {"gpus": copied["gpus"]}) and info.request["output_dir"] is None


def test_what_a_job_is_now_its_request_says_too() -> None:
    held = stored(priority=3, output_dir="/results") | {
        "priority": -7,
        "hold": True,
        "ttlSecondsAfterFinished": 60,
        "keep": True,
    }
    info = shown(**held)
    request = info.request
    assert (request["priority"], request["hold"], request["ttl_seconds_after_finished"]) == (-7, True, 60)
    assert request["keep"] is info.keep is True
    assert request["output_dir"] == "/results"


@pytest.mark.parametrize(
    "annotation",
    [
        '{"model": "llava_hf", "tasks": ["mme"], "model_args": {"a": %s}}' % ("[" * 300 + "]" * 300),
        '{"model": "llava_hf", "tasks": ["mme"], "extra": %s}' % ("[" * 300 + "]" * 300),
        "[" * 100_000,
        '{"model": "llava_hf", "tasks": ["mme"], "limit": 1%s}' % ("0" * 400),
        '{"model": "llava_hf", "tasks": ["mme"], "name": "another"}',
        '{"model": "llava_hf", "tasks": ["mme"], "labels": {"team": "vision"}}',
        '{"model": "llava_hf", "tasks": ["mme"], "device": "cpu"}',
    ],
)
def test_whatever_an_annotation_holds_the_answer_is_one(annotation: str) -> None:
    info = shown(annotations={names.ANNOTATION_REQUEST: annotation})
    json.loads(info.model_dump_json())
    assert info.request == make_request({"model": "llava_hf", "tasks": ["mme"]})


def test_arguments_that_no_policy_has_seen_are_shown_as_far_as_that_is_possible() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    info = shown(modelArgs={"deep": deep, "dtype": "float16"})
    assert json.loads(info.model_dump_json())["request"]["model_args"] == {"deep": NOT_A_SCALAR, "dtype": "float16"}


def test_only_fields_of_a_request_are_taken_from_an_annotation() -> None:
    info = shown(annotations={names.ANNOTATION_REQUEST: '{"model": "llava_hf", "tasks": ["mme"], "script": "<b>"}'})
    assert info.request.keys() == set(ORIGINAL_FIELDS)


ANNOTATIONS = st.dictionaries(
    st.sampled_from(names.FRONT_END_ANNOTATIONS),
    st.text(max_size=20) | st.sampled_from(["[" * 300, '{"model": "m", "tasks": ["t"], "limit": 1e400}', "x" * 5000]),
)


@settings(max_examples=200)
@given(spec=evaluations("spec"), status=evaluations("status"), annotations=ANNOTATIONS)
def test_nothing_that_is_accepted_keeps_an_answer_from_others(
    spec: Object, status: Object, annotations: dict[str, str]
) -> None:
    odd = build_evaluation_object("odd", annotations=annotations)
    odd |= {"spec": spec, "status": {"phase": "Queued", "reason": "WaitingForTurn", **status}}
    cache = JobCache()
    cache.replace([cache.project(item) for item in (odd, build_evaluation_object("good"))])
    queue = json.loads(cache.get_overview().response_body)
    jobs = cache.list_page(lambda job: True, after=None, limit=9).jobs
    infos = [json.loads(make_job_info(job, position=cache.find_position(job)).model_dump_json()) for job in jobs]
    summaries = [json.loads(make_job_summary(job, position=cache.find_position(job)).model_dump_json()) for job in jobs]
    assert "good" in queue["queued_jobs"] and len(infos) == len(summaries) == 2
    assert UNREADABLE not in [job["message"] for job in (*infos, *summaries)]


@pytest.mark.parametrize(
    "odd",
    [
        {"status": {"phase": "Running", "progress": {"completed": "many"}, "attempts": [{"number": "first"}]}},
        {"spec": {"model": "m", "tasks": [{"name": "mme"}]}},
        {"status": {"phase": "Running", "progress": "half"}},
    ],
)
def test_an_object_of_another_release_is_shown_as_one_that_cannot_be_read(odd: Object) -> None:
    cache = JobCache()
    job = cache.learn(build_evaluation_object("odd", uid="odd") | odd)
    for shown in (make_job_info(job, position=None), make_job_summary(job, position=None)):
        assert json.loads(shown.model_dump_json())["message"] == UNREADABLE
    assert len(cache) == 1
    cache.remove(cache.project(build_evaluation_object("odd", uid="odd") | odd))
    assert len(cache) == 0


def test_an_object_from_kubectl_has_the_request_that_would_have_asked_for_it() -> None:
    wanted = EvaluateRequest(
        model="vllm",
        tasks=["mme"],
        model_args={"maxPixels": 8},
        num_gpus=2,
        batch_size="auto",
        limit=5,
        retries=2,
        env=[EnvVar(name="KEY", secret_key_ref=SecretKeyRef(name="keys", key="openai"))],
        volumes=[Volume(claim_name="data", mount_path="/mnt/data")],
        node_selector={"gpuType": "a100"},
        resources=Resources(shared_memory="8Gi"),
    )
    body = prepare_submission(wanted, sender=Sender("me", None, "a"), namespace="team").body
    assert EvaluateRequest.model_validate(make_request(body["spec"])) == wanted


def test_words_of_a_newer_release_do_not_make_a_reader_fail() -> None:
    info = shown(phase="Paused", status={"reason": "SomethingNew", "progress": {"stage": "New", "newField": 1}})
    assert (info.status, info.reason) == ("queued", "SomethingNew")


def test_what_is_known_of_its_attempts_is_told_in_the_words_of_the_wire() -> None:
    attempts = [
        {"number": 1, "jobName": "a-1", "exitCode": 69, "reason": "Unreachable"},
        {"number": 2, "jobName": "a-2"},
    ]
    usage = {"gpuSeconds": 3.5, "versions": {"lmms-eval": "0.7.3"}}
    info = shown(
        phase="Running", status={"attempt": 2, "attempts": attempts, "usage": usage, "summary": "mme 0.5"}, hold=True
    )
    assert (info.attempt, [attempt.exit_code for attempt in info.attempts]) == (2, [69, None])
    assert (info.usage, info.summary, info.hold) == (
        {"gpu_seconds": 3.5, "versions": {"lmms-eval": "0.7.3"}},
        "mme 0.5",
        True,
    )


DOUBT = "of 100 answers 3 are empty and 1 are error texts, and 0 errors were swallowed: look at the samples"
COUNTS = {"samples": 100, "empty": 3, "failed": 1, "swallowedErrors": 0}


def test_results_that_are_suspect_are_said_to_be_in_a_sentence_and_in_numbers() -> None:
    conditions = [
        {"type": "Complete", "status": "True", "message": ""},
        {"type": RESULTS_SUSPECT, "status": "True", "message": DOUBT},
    ]
    info = shown(phase="Completed", status={"reason": "Succeeded", "suspect": COUNTS, "conditions": conditions})
    assert (info.status, info.warnings) == ("completed", [f"The results are suspect: {DOUBT}."])
    assert info.suspect == Suspect(samples=100, empty=3, failed=1)


def test_a_few_bad_answers_of_a_clean_success_raise_no_doubt() -> None:
    info = shown(
        phase="Completed",
        status={"suspect": COUNTS, "conditions": [{"type": "Complete", "status": "True", "message": ""}]},
    )
    assert (info.warnings, info.suspect) == ([], None)
