"""POST /evaluate beyond lmms-eval's own server: every field of the resource, dry runs, names, and keys that make a
retry safe.
"""

import concurrent.futures
import json
import time
from typing import Any

import httpx
import pytest
from front_end_fixtures import FrontEnd, StartFrontEnd

from lmms_eval_api.jobs.job_info import ORIGINAL_FIELDS
from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.spec import EvaluationSpec
from lmms_eval_core.wire import EvaluateRequest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SMALL = {"model": "llava_hf", "tasks": ["mme"], "model_args": {"pretrained": "a/b"}, "limit": 8}
BEYOND: dict[str, Any] = {
    "offset": 4,
    "seed": "1,2,3",
    "repeats": 2,
    "system_instruction": "Answer with a letter.",
    "apply_chat_template": True,
    "fewshot_as_multiturn": False,
    "reasoning_tags": "none",
    "max_tokens": 16,
    "force_simple": True,
    "process_with_media": True,
    "include_path": "/mnt/tasks",
    "processes": 1,
    "resources": {"cpu": 4, "memory": "16Gi", "shared_memory": "8Gi", "ephemeral_storage": "20Gi"},
    "volumes": [{"claim_name": "checkpoints", "mount_path": "/mnt/tasks", "read_only": False}],
    "node_selector": {"nvidia.com/gpu.product": "A100"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "toleration_seconds": 60}
    ],
    "priority_class_name": "low",
    "runtime_class_name": "nvidia",
    "env": [
        {"name": "JUDGE", "value": "gpt"},
        {"name": "OPENAI_API_KEY", "secret_key_ref": {"name": "lmms-eval-env-judge", "key": "key"}},
    ],
    "image": "registry.example.com/evaluator:v1",
    "priority": 3,
    "hold": True,
    "ttl_seconds_after_finished": 60,
    "keep": True,
    "retries": 1,
    "resume": "never",
    "media": "thumbs",
    "timeout_seconds": 3600,
    "stall_timeout_seconds": 600,
    "trust_remote_code": True,
    "name": "mine",
    "labels": {"team": "vision", "example.com/run": "7"},
}
OF_THE_ORIGINAL: dict[str, Any] = SMALL | {
    "num_fewshot": 2,
    "batch_size": "auto",
    "device": "cuda",
    "gen_kwargs": "temperature=0",
    "log_samples": False,
    "predict_only": True,
    "num_gpus": 2,
    "output_dir": "/results",
}
SPEC: dict[str, Any] = {
    "model": "llava_hf",
    "modelArgs": {"pretrained": "a/b"},
    "tasks": ["mme"],
    "numFewshot": 2,
    "batchSize": "auto",
    "limit": 8,
    "genKwargs": "temperature=0",
    "logSamples": False,
    "predictOnly": True,
    "gpus": 2,
    "offset": 4,
    "seed": "1,2,3",
    "repeats": 2,
    "systemInstruction": "Answer with a letter.",
    "applyChatTemplate": True,
    "fewshotAsMultiturn": False,
    "reasoningTags": "none",
    "maxTokens": 16,
    "forceSimple": True,
    "processWithMedia": True,
    "includePath": "/mnt/tasks",
    "processes": 1,
    "resources": {"cpu": 4, "memory": "16Gi", "sharedMemory": "8Gi", "ephemeralStorage": "20Gi"},
    "volumes": [{"claimName": "checkpoints", "mountPath": "/mnt/tasks", "readOnly": False}],
    "nodeSelector": {"nvidia.com/gpu.product": "A100"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60}
    ],
    "priorityClassName": "low",
    "runtimeClassName": "nvidia",
    "env": [
        {"name": "JUDGE", "value": "gpt"},
        {"name": "OPENAI_API_KEY", "secretKeyRef": {"name": "lmms-eval-env-judge", "key": "key"}},
    ],
    "image": "registry.example.com/evaluator:v1",
    "priority": 3,
    "hold": True,
    "cancel": False,
    "ttlSecondsAfterFinished": 60,
    "keep": True,
    "retries": 1,
    "resume": "never",
    "media": "thumbs",
    "timeoutSeconds": 3600,
    "stallTimeoutSeconds": 600,
    "trustRemoteCode": True,
}


def submit(session: httpx.Client, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    content = json.dumps(SMALL | fields)
    return session.post("/evaluate", content=content, headers={"Content-Type": "application/json", **(headers or {})})


def test_every_field_that_there_is_stands_here() -> None:
    assert BEYOND.keys() | {"gate"} == EvaluateRequest.model_fields.keys() - set(ORIGINAL_FIELDS)
    assert OF_THE_ORIGINAL.keys() == set(ORIGINAL_FIELDS)
    assert SPEC.keys() | {"gate"} == {field.alias for field in EvaluationSpec.model_fields.values()}


async def test_a_gate_arrives(front_end: FrontEnd, client: Transport) -> None:
    """By itself, as the other fields ask for a run without samples."""
    rules = [{"task": "mme", "max_drop": 20.5}, {"max_drop_percent": 3, "tier": "Advisory"}]
    with front_end.session() as session:
        answer = submit(session, name="gated", gate={"baseline": {"evaluation": "main"}, "rules": rules})
        assert answer.status_code == 200, answer.text
    common = {"evidence": "NotWorse", "minPairs": 30}
    assert (await client.get(EVALUATIONS, "gated"))["spec"]["gate"] == {
        "baseline": {"evaluation": "main"},
        "confidence": 0.95,
        "rules": [
            {"task": "mme", "maxDrop": 20.5, "tier": "Critical", **common},
            {"task": "*", "maxDropPercent": 3, "tier": "Advisory", **common},
        ],
    }


async def test_every_field_of_the_resource_arrives(front_end: FrontEnd, client: Transport) -> None:
    with front_end.session() as session:
        answer = submit(session, **OF_THE_ORIGINAL, **BEYOND)
        assert (answer.status_code, answer.json()["job_id"]) == (200, "mine"), answer.text
        stored = await client.get(EVALUATIONS, "mine")
        assert stored["metadata"]["labels"] == BEYOND["labels"] | {names.LABEL_CREATED_BY: names.CREATED_BY_API}
        assert stored["spec"] == SPEC
        job = session.get("/jobs/mine").json()
        assert job["request"] == OF_THE_ORIGINAL | BEYOND
        assert (job["labels"], job["priority"], job["hold"]) == (BEYOND["labels"], 3, True)


REFUSED: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    (
        {"env": [{"name": "HF_TOKEN", "value": "hf_planted"}]},
        ("env", 0),
        "a secret is given by reference: use secret_key_ref instead of value",
    ),
    ({"env": [{"name": "A"}]}, ("env", 0), "give either value or secret_key_ref"),
    ({"env": [{"name": "LD_PRELOAD", "value": "x"}]}, ("env", 0), "leave it out"),
    (
        {"env": [{"name": "A", "secret_key_ref": {"name": "No Name", "key": "k"}}]},
        ("env", 0, "secret_key_ref", "name"),
        "give the name of a Kubernetes object",
    ),
    ({"env": [{"name": "A", "secretKeyRef": {}}]}, ("env", 0, "secretKeyRef"), "not permitted"),
    ({"volumes": [{"claim_name": "c", "mount_path": "/etc"}]}, ("volumes", 0), "mount_path is inside a directory"),
    ({"include_path": "/cache/tasks"}, ("include_path",), "include_path is inside a directory"),
    ({"tolerations": [{"operator": "Equal"}]}, ("tolerations", 0), "needs operator: Exists"),
    ({"tolerations": [{"operator": "Maybe"}]}, ("tolerations", 0, "operator"), "Exists"),
    ({"resources": {"shared_memory": "much"}}, ("resources", "shared_memory"), "give a quantity"),
    ({"seed": "one"}, ("seed",), "give a seed"),
    ({"retries": 11}, ("retries",), "retries should be less than or equal to 10"),
    ({"resume": "always"}, ("resume",), "Input should be 'never', 'sameHardware' or 'acrossHardware'"),
    ({"ttl_seconds_after_finished": -1}, ("ttl_seconds_after_finished",), "greater than or equal to 0"),
    ({"timeout_seconds": 10**30}, (), ""),
    ({"name": "Not A Label"}, ("name",), ""),
    ({"name": "a.b"}, (), "63"),
    ({"name": "x" * 64}, (), "63"),
    ({"labels": {"app.kubernetes.io/name": "x"}}, ("labels", "app.kubernetes.io/name"), "use a key of your own"),
    ({"labels": {"lmms-eval.io/created-by": "x"}}, ("labels", "lmms-eval.io/created-by"), "use a key of your own"),
    ({"labels": {"not a key": "x"}}, ("labels",), ""),
    ({"labels": {"key": "not a value!"}}, ("labels",), ""),
    ({"system_instruction": "a\0"}, ("system_instruction",), "no command line can carry"),
    ({"node_selector": {"a\ud800": "b"}}, ("node_selector",), "no command line can carry"),
]


def test_what_cannot_be_is_refused_under_the_names_of_the_request(
    front_end: FrontEnd, subtests: pytest.Subtests
) -> None:
    with front_end.session() as session:
        for fields, path, words in REFUSED:
            with subtests.test(fields=str(fields)[:80]):
                answer = submit(session, **fields)
                assert answer.status_code == 422, answer.text
                said = {tuple(item["loc"]): item["msg"] for item in answer.json()["detail"]}
                assert any(
                    loc[: 1 + len(path)] == ("body", *path) and words in sentence for loc, sentence in said.items()
                ), said
                assert "planted" not in answer.text
        assert session.get("/queue").json()["queue_size"] == 0
    assert "planted" not in front_end.log.read_text()


def test_a_dry_run_checks_everything_and_stores_nothing(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        submit(session)
        time.sleep(1.1)  # The API server counts in seconds.
        answer = session.post("/evaluate?dryRun=true", json=SMALL | {"foo": 1, "name": "rehearsal"})
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "job_id": "rehearsal",
                "status": "queued",
                "position_in_queue": 1,
                "message": "Nothing was stored: dry run.",
                "warnings": ["Unknown field 'foo' has no effect."],
            },
        )
        assert "set-cookie" not in answer.headers
        first = session.post("/evaluate?dryRun=true", json=SMALL | {"priority": 5}).json()
        assert first["position_in_queue"] == 0
        refused = session.post("/evaluate?dryRun=true", json=SMALL | {"num_fewshot": -1})
        assert refused.json()["detail"][0]["loc"] == ["body", "num_fewshot"]
        assert session.get("/queue").json()["queue_size"] == 1
        assert session.get("/jobs/rehearsal").status_code == 404
        wrong = session.post("/evaluate?dryRun=perhaps", json=SMALL)
        assert (wrong.status_code, wrong.json()["detail"][0]["loc"], wrong.json()["errors"]) == (
            422,
            ["query", "dryRun"],
            [],
        )


def test_a_name_is_taken_once(front_end: FrontEnd) -> None:
    with front_end.session() as session:
        assert submit(session, name="baseline").json()["job_id"] == "baseline"
        changes: list[dict[str, Any]] = [{}, {"limit": 9}]
        for fields in changes:
            again = submit(session, name="baseline", **fields)
            assert (again.status_code, "choose another name" in again.json()["detail"]) == (409, True)
        assert session.post("/evaluate?dryRun=true", json=SMALL | {"name": "baseline"}).status_code == 409


def test_the_same_key_is_the_same_job(front_end: FrontEnd) -> None:
    key = {"Idempotency-Key": "step 1000 of run/7"}
    with front_end.session() as session:
        first, again = submit(session, key), submit(session, key, limit="8")
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == first.json()
        other = submit(session, key, limit=9)
        assert (other.status_code, other.json()["detail"][0]["loc"]) == (422, ["header", "Idempotency-Key"])
        assert "use a new one" in other.json()["detail"][0]["msg"]
        assert submit(session, {"Idempotency-Key": "step 2000 of run/7"}).json()["job_id"] != first.json()["job_id"]
        session.delete(f"/jobs/{first.json()['job_id']}")
        assert submit(session, key).json()["status"] == "cancelled"
        for bad in ("", "x" * 256, "a\x01b", "é"):
            wrong = session.post("/evaluate", json=SMALL, headers={b"Idempotency-Key": bad.encode("latin-1")})
            assert wrong.status_code in (400, 422), bad
        assert session.get("/queue").json()["queue_size"] == 1


def test_two_callers_may_use_one_key(front_end: FrontEnd) -> None:
    (front_end.tokens / "others").write_text("a-token-of-others")
    key = {"Idempotency-Key": "nightly"}
    with front_end.session() as session:
        mine = submit(session, key).json()["job_id"]
    time.sleep(1.1)  # Tokens are read again after a second.
    with front_end.session("a-token-of-others") as session:
        theirs = submit(session, key, limit=1)
    assert (theirs.status_code, theirs.json()["job_id"] != mine) == (200, True)


async def test_a_key_outlives_nothing_but_its_job(front_end: FrontEnd, client: Transport) -> None:
    key = {"Idempotency-Key": "again"}
    with front_end.session() as session:
        name = submit(session, key).json()["job_id"]
        stored = await client.get(EVALUATIONS, name)
        await client.delete(EVALUATIONS, name, uid=stored["metadata"]["uid"])
        again = submit(session, key, limit=9)
        assert (again.status_code, again.json()["job_id"], "Idempotency-Replayed" in again.headers) == (
            200,
            name,
            False,
        )
        assert session.get(f"/jobs/{name}").json()["request"]["limit"] == 9


def test_a_request_too_large_to_be_repeated_is_still_recognised(front_end: FrontEnd) -> None:
    key, large = {"Idempotency-Key": "large"}, "x" * 100_000
    with front_end.session() as session:
        first = submit(session, key, output_dir=f"/{large}")
        assert submit(session, key, output_dir=f"/{large}").json()["job_id"] == first.json()["job_id"]
        assert submit(session, key, output_dir=f"/{large}y").status_code == 422


def test_a_key_sent_to_two_replicas_at_once_makes_one_job(front_end: FrontEnd, start_front_end: StartFrontEnd) -> None:
    other = start_front_end()
    other.wait_until_ready()
    with front_end.session() as here, other.session() as there, concurrent.futures.ThreadPoolExecutor(16) as pool:
        sent = [
            (session, {"Idempotency-Key": f"key {number % 10}"}) for number in range(80) for session in (here, there)
        ]
        answers = list(pool.map(lambda work: submit(*work), sent))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["job_id"] for answer in answers}) == 10
        assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 10
        assert here.get("/queue").json()["queue_size"] == 10


async def test_whoever_takes_a_name_first_has_nothing_shown_for_the_callers_own(
    front_end: FrontEnd, client: Transport
) -> None:
    key = {"Idempotency-Key": "nightly"}
    with front_end.session() as session:
        name = session.post("/evaluate", json=SMALL, headers=key).raise_for_status().json()["job_id"]
        made = await client.get(EVALUATIONS, name)
        for model, status in (("somebody_elses", 409), (made["spec"]["model"], 200)):
            current = await client.get(EVALUATIONS, name)
            await client.delete(EVALUATIONS, name, uid=current["metadata"]["uid"])
            metadata = {field: made["metadata"][field] for field in ("name", "namespace", "annotations")}
            taken = {field: made[field] for field in ("apiVersion", "kind")} | {"metadata": metadata}
            await client.create(EVALUATIONS, taken | {"spec": made["spec"] | {"model": model}})
            answer = session.post("/evaluate", json=SMALL, headers=key)
            assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (status, status == 200), (
                answer.text
            )
            # What the annotation says of another model is not repeated.
            assert session.get(f"/jobs/{name}").json()["request"]["model"] == model
