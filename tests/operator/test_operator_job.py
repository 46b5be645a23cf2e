"""From an evaluation to a Job: what the pod gets, and above all what it does not get."""

import json
from dataclasses import replace
from typing import Any

import pytest
from recorded_environment import RecordedEnvironment

from lmms_eval_core import names
from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.paths import CACHE_DIRECTORY, PRIVATE_CACHES
from lmms_eval_core.run import MediaLimits, ResumePolicy, RunInput
from lmms_eval_core.spec import EvaluationSpec, Resources, Toleration, Volume
from lmms_eval_operator import objects
from lmms_eval_operator.gpus import CannotRun, Launch, plan_launch
from lmms_eval_operator.job_manifest import STAY, build_job, escape_literal
from lmms_eval_operator.settings import MediaSettings, Settings, StoreReference
from lmms_eval_reporter.settings import Settings as ReporterSettings

SETTINGS = Settings(namespace="team", evaluator_image="evaluator:1", reporter_image="reporter:1")
UID = "0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b"


def evaluation(**spec: Any) -> LMMEvaluation:
    metadata = {"name": "a", "namespace": "team", "uid": UID, "resourceVersion": "1"}
    return LMMEvaluation.parse({"metadata": metadata, "spec": {"model": "llava_hf", "tasks": ["mme"], **spec}})


def manifest(settings: Settings = SETTINGS, **spec: Any) -> Any:
    return build_job(evaluation(**spec), attempt=2, slot=1, settings=settings)


def pod(settings: Settings = SETTINGS, **spec: Any) -> Any:
    return manifest(settings, **spec)["spec"]["template"]["spec"]


def evaluator(settings: Settings = SETTINGS, **spec: Any) -> Any:
    (container,) = pod(settings, **spec)["containers"]
    return container


def reporter(settings: Settings = SETTINGS, **spec: Any) -> Any:
    (container,) = pod(settings, **spec)["initContainers"]
    return container


def environment(container: Any) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def given(container: Any) -> RunInput:
    """What the container reads: the kubelet turns `$$` into `$`."""
    return RunInput.model_validate_json(environment(container)[names.ENV_RUN].replace("$$", "$"))


def test_the_job_has_gated_pods_the_name_of_its_attempt_and_its_evaluation_as_owner() -> None:
    made = manifest()
    assert made["metadata"]["name"] == "a-0f4c6a1e-a2"
    assert (made["spec"]["backoffLimit"], made["spec"]["podReplacementPolicy"]) == (0, "Failed")
    assert made["spec"]["template"]["spec"]["schedulingGates"] == [{"name": "lmms-eval.io/attempt"}]
    assert "suspend" not in made["spec"]
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (UID, True, False)
    assert "ttlSecondsAfterFinished" not in made["spec"]


def test_the_operator_knows_its_job_again() -> None:
    made = manifest()
    made["metadata"] |= {"uid": "j", "resourceVersion": "7"}
    known = objects.parse_job(made)
    assert known is not None
    assert (known.evaluation, known.evaluation_uid, known.attempt, known.slot, known.gated) == ("a", UID, 2, 1, True)
    template = made["spec"]["template"]
    owner = {"uid": "j", "controller": True}
    metadata = {"name": "p", "uid": "p", "resourceVersion": "8", "ownerReferences": [owner], **template["metadata"]}
    seen = objects.parse_pod({"metadata": metadata, "spec": template["spec"]})
    assert seen is not None and (seen.evaluation_uid, seen.attempt, seen.slot) == (UID, 2, 1)
    assert (seen.job_uid, seen.gate) == ("j", 0)


def test_the_same_attempt_always_gives_the_same_job() -> None:
    assert manifest(tasks=["b", "a"]) == manifest(tasks=["b", "a"])


def test_the_pod_obeys_the_restricted_standard() -> None:
    spec = pod()
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {
        "type": "RuntimeDefault"
    }
    for container in (*spec["containers"], *spec["initContainers"]):
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_evaluator_has_no_token_and_no_credentials() -> None:
    settings = Settings(
        namespace="team", evaluator_image="e", reporter_image="r", store=StoreReference(url="s3://b", secret="store")
    )
    spec = pod(settings)
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    mounts = {mount["name"] for mount in evaluator(settings)["volumeMounts"]}
    assert mounts == {"run", "cache", "tmp", "dshm"}
    assert "envFrom" not in evaluator(settings)
    assert not [name for name in environment(evaluator(settings)) if "STORE_" in name or "AWS" in name]
    assert {mount["name"] for mount in reporter(settings)["volumeMounts"]} == {"run", "reporter-tmp", "token"}
    assert reporter(settings)["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert environment(reporter(settings))["LMMS_EVAL_STORE_URL"] == "s3://b"
    assert reporter()["envFrom"] == []


def test_the_reporter_is_a_sidecar_of_our_own_image_that_must_be_ready_first() -> None:
    container = reporter(image="theirs:1")
    assert (container["image"], container["restartPolicy"]) == ("reporter:1", "Always")
    assert container["startupProbe"]["exec"]["command"] == ["python", "-m", "lmms_eval_reporter.probe"]
    assert evaluator(image="theirs:1")["image"] == "theirs:1"


def test_runner_and_reporter_are_told_the_same() -> None:
    spec: dict[str, Any] = {
        "modelArgs": {"pretrained": "x"},
        "limit": 8,
        "env": [{"name": "HF_TOKEN", "secretKeyRef": {"name": "s", "key": "k"}}],
    }
    told = given(evaluator(**spec))
    assert told == given(reporter(**spec))
    assert (told.namespace, told.name, told.uid, told.attempt, told.image) == ("team", "a", UID, 2, "evaluator:1")
    assert (told.harness.model, told.harness.model_args, told.harness.limit) == ("llava_hf", {"pretrained": "x"}, 8)
    assert told.harness.num_fewshot is None and told.harness.log_samples is True
    assert told.secret_env == ["HF_TOKEN"] and told.publish_timeout_seconds == 3600


@pytest.mark.parametrize("text", ["$(HOME)", "$$(HOME)", "$", "a,b='c' \"d\" = {x: [1, 2]}, ü €", "$(", "$x$$"])
def test_every_argument_arrives_unchanged_though_the_kubelet_expands_variables(text: str) -> None:
    assert given(evaluator(modelArgs={"prompt": text})).harness.model_args == {"prompt": text}
    assert "$(" not in escape_literal(text).replace("$$", "")


def test_remote_code_is_an_argument_of_the_model() -> None:
    assert (given(evaluator()).trust_remote_code, given(evaluator(trustRemoteCode=True)).trust_remote_code) == (
        False,
        True,
    )
    assert given(evaluator(trustRemoteCode=True, modelArgs={"a": 1})).harness.model_args == {
        "a": 1,
        "trust_remote_code": True,
    }
    assert given(evaluator(trustRemoteCode=True)).harness.model_args == {"trust_remote_code": True}
    assert given(evaluator()).harness.model_args == {}


def test_runner_and_reporter_are_told_which_earlier_answers_count() -> None:
    assert given(evaluator()).resume is ResumePolicy.SAME_HARDWARE
    assert given(reporter(resume="never")).resume is given(evaluator(resume="never")).resume is ResumePolicy.NEVER
    # As an operator of an earlier release wrote it, and as the scores do not depend on it.
    older = RunInput.model_validate_json(given(evaluator()).model_dump_json(exclude={"resume"}))
    assert older.resume is ResumePolicy.SAME_HARDWARE
    assert given(evaluator(resume="acrossHardware")).compute_fingerprint() == older.compute_fingerprint()


@pytest.mark.parametrize(
    ("bound", "spec", "kept"),
    [
        ("display", {}, "display"),
        ("display", {"media": "none"}, "none"),
        ("original", {}, "display"),
        ("original", {"media": "original"}, "original"),
        ("thumbs", {}, "thumbs"),
        # Where the policies are not installed.
        ("thumbs", {"media": "original"}, "thumbs"),
        ("none", {"media": "display"}, "none"),
        ("original", {"media": "original", "logSamples": False}, "none"),
    ],
)
def test_runner_and_reporter_are_told_what_of_the_media_is_kept(bound: str, spec: dict[str, Any], kept: str) -> None:
    media = MediaSettings(max=MediaPolicy(bound), file_bytes=10, run_bytes=20)
    settings = replace(SETTINGS, media=media, media_fresh_seconds=30)
    expected = MediaLimits(policy=MediaPolicy(kept), file_bytes=10, run_bytes=20, fresh_seconds=30)
    assert given(evaluator(settings, **spec)).media == given(reporter(settings, **spec)).media == expected
    # An operator of an earlier release says nothing.
    older = RunInput.model_validate_json(given(evaluator()).model_dump_json(exclude={"media"}))
    assert older.media.policy == MediaPolicy.NONE
    assert older.compute_fingerprint() == given(evaluator()).compute_fingerprint()


def test_arguments_beyond_what_linux_hands_to_a_process_are_refused() -> None:
    with pytest.raises(CannotRun, match="KiB"):
        manifest(
            tasks=[f"{'t' * 250}{index}" for index in range(256)],
            systemInstruction="s" * 16000,
            modelArgs={"x": "y" * 50_000},
        )


def test_env_has_defaults_then_the_users_and_the_pods_own_wins() -> None:
    defaults = (
        {"name": "HTTPS_PROXY", "value": "p"},
        {"name": "MODE", "value": "default"},
        {"name": "HF_HOME", "value": "x"},
    )
    settings = Settings(namespace="team", evaluator_image="e", reporter_image="r", default_env=defaults)
    spec = {"env": [{"name": "MODE", "value": "user"}, {"name": "KEY", "secretKeyRef": {"name": "s", "key": "k"}}]}
    container = evaluator(settings, **spec)
    found = environment(container)
    assert len(found) == len(container["env"])
    assert (found["HTTPS_PROXY"], found["MODE"], found["HF_HOME"]) == ("p", "user", "/cache/huggingface")
    assert found["KEY"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert "HTTPS_PROXY" not in environment(reporter(settings, **spec))


def test_only_models_and_data_sets_are_shared_and_what_is_code_is_the_pods_own() -> None:
    found = environment(evaluator(default_env_of({name: "/cache/planted" for name in PRIVATE_CACHES})))
    shared = {name for name, value in found.items() if str(value).startswith(CACHE_DIRECTORY)}
    assert shared == {"HF_HOME"}
    assert all(found[name].startswith("/tmp/.cache") for name in PRIVATE_CACHES)
    code = (
        "HF_MODULES_CACHE",
        "TORCH_EXTENSIONS_DIR",
        "TRITON_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "VLLM_CACHE_ROOT",
    )
    assert set(code) < set(PRIVATE_CACHES)


def default_env_of(values: dict[str, str]) -> Settings:
    return replace(SETTINGS, default_env=tuple({"name": name, "value": value} for name, value in values.items()))


@pytest.mark.parametrize(
    "folder", ["/cache", "/cache/x", "/tmp/a", "/run/lmms-eval", "/proc/1/root", "/dev/shm", "/data/../cache"]
)
def test_tasks_are_not_loaded_from_where_evaluations_write(folder: str) -> None:
    with pytest.raises(CannotRun, match="^includePath "):
        manifest(includePath=folder)
    assert given(evaluator(includePath="/data/tasks")).harness.include_path == "/data/tasks"


def test_resources_come_from_the_spec_then_from_the_settings() -> None:
    defaults = Resources(cpu="2", memory="8Gi", shared_memory="1Gi")
    settings = Settings(namespace="team", evaluator_image="e", reporter_image="r", default_resources=defaults)
    spec = {"gpus": 2, "resources": {"memory": "16Gi", "ephemeralStorage": "10Gi"}}
    container = evaluator(settings, **spec)
    limits = {"memory": "16Gi", "ephemeral-storage": "10Gi", "nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": {"cpu": "2", **limits}, "limits": limits}
    (shared,) = [volume for volume in pod(settings, **spec)["volumes"] if volume["name"] == "dshm"]
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}


def test_without_gpus_none_are_asked_for() -> None:
    assert evaluator(gpus=0)["resources"] == {"requests": {}, "limits": {}}


def test_a_run_has_a_folder_of_its_own_that_goes_with_its_pod() -> None:
    assert {"name": "run", "emptyDir": {}} in pod()["volumes"]
    directory = environment(evaluator())["LMMS_EVAL_RUN_DIRECTORY"]
    assert {"name": "run", "mountPath": directory} in evaluator()["volumeMounts"]


RELEASE = replace(
    SETTINGS,
    default_requests=Resources(memory="2Gi", ephemeral_storage="1Gi"),
    default_limits=Resources(ephemeral_storage="200Gi"),
    volume_sizes={"run": "20Gi", "tmp": "50Gi"},
)


def sizes(settings: Settings, **spec: Any) -> dict[str, Any]:
    return {volume["name"]: volume["emptyDir"].get("sizeLimit") for volume in pod(settings, **spec)["volumes"][:2]}


def test_a_run_that_asks_for_nothing_is_bounded_and_placed_by_the_release() -> None:
    requests, limits = {"memory": "2Gi", "ephemeral-storage": "1Gi"}, {"ephemeral-storage": "200Gi"}
    assert evaluator(RELEASE, gpus=0)["resources"] == {"requests": requests, "limits": limits}
    assert sizes(RELEASE) == {"run": "20Gi", "tmp": "50Gi"}
    assert sizes(RELEASE, resources={"ephemeralStorage": "500Gi"}) == {"run": "500Gi", "tmp": "500Gi"}


@pytest.mark.parametrize(
    ("asked", "limit", "expected"),
    [
        (None, None, None),
        (None, "8", "8"),
        ("4", "8", "8"),
        ("16", "8", "16"),
        ("500m", "1", "1"),
        ("1500m", "1", "1500m"),
        (2, "0.5", "2"),
    ],
)
def test_a_cpu_limit_is_the_releases_and_no_less_than_is_asked_for(
    asked: Any, limit: str | None, expected: str | None
) -> None:
    settings = replace(SETTINGS, default_limits=Resources(cpu=limit))
    resources = evaluator(settings, gpus=0, **({"resources": {"cpu": asked}} if asked else {}))["resources"]
    assert resources["limits"].get("cpu") == expected
    assert resources["requests"].get("cpu") == (str(asked) if asked else None)


@pytest.mark.parametrize(
    ("asked", "limit", "larger"),
    [("1Gi", "900M", "1Gi"), ("1Gi", "2G", "2G"), ("3Ti", "1T", "3Ti"), ("5k", "1Ki", "5k")],
)
def test_quantities_are_compared_as_amounts(asked: str, limit: str, larger: str) -> None:
    settings = replace(SETTINGS, default_requests=Resources(memory=asked), default_limits=Resources(memory=limit))
    assert evaluator(settings)["resources"]["limits"]["memory"] == larger


def test_every_container_of_the_pod_meets_a_quota_on_cpu_limits() -> None:
    quota = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    settings = replace(RELEASE, default_limits=Resources(cpu="4", memory="8Gi"), reporter_resources=quota)
    assert reporter(settings)["resources"] == quota
    assert evaluator(settings)["resources"]["limits"].items() >= {"cpu": "4", "memory": "8Gi"}.items()


def test_the_cluster_may_say_who_a_pod_runs_as() -> None:
    assert pod()["securityContext"].items() >= {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}.items()
    left = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod(replace(SETTINGS, pod_security={}))["securityContext"] == left
    given = pod(replace(SETTINGS, pod_security={"fsGroup": 7}))["securityContext"]
    assert given == {**left, "fsGroup": 7, "fsGroupChangePolicy": "OnRootMismatch"}


def test_a_private_authority_of_the_store_reaches_the_reporter_alone() -> None:
    settings = replace(SETTINGS, store=StoreReference(url="s3://bucket", ca_secret="ca"))
    assert environment(reporter(settings))["LMMS_EVAL_STORE_CA_FILE"] == "/var/run/secrets/lmms-eval-store/ca.crt"
    mount = {"name": "store-ca", "mountPath": "/var/run/secrets/lmms-eval-store", "readOnly": True}
    assert mount in reporter(settings)["volumeMounts"] and mount not in evaluator(settings)["volumeMounts"]
    assert {"name": "store-ca", "secret": {"secretName": "ca"}} in pod(settings)["volumes"]
    assert "LMMS_EVAL_STORE_CA_FILE" not in environment(reporter()) and "store-ca" not in str(pod())


def _variables(container: Any) -> RecordedEnvironment:
    """As the kubelet hands them over: `$$` in a manifest is `$`."""
    return RecordedEnvironment({name: str(value).replace("$$", "$") for name, value in environment(container).items()})


def test_the_reporter_reads_what_it_is_given_and_is_given_what_it_reads() -> None:
    store = StoreReference(url="s3://bucket", endpoint="https://s3.example.com", region="eu", ca_secret="ca")
    variables = _variables(reporter(replace(SETTINGS, store=store)))
    ReporterSettings.from_environment(variables)
    assert set(variables) <= variables.asked
    # What is left of the pod's grace, which is fixed as well.
    assert variables.asked - set(variables) == {"LMMS_EVAL_REPORTER_GRACE_SECONDS"}


def test_the_release_may_bring_tasks_and_volumes_for_evaluations_that_name_none() -> None:
    ours = (Volume(claim_name="tasks", mount_path="/data"), Volume(claim_name="more", mount_path="/more"))
    settings = replace(SETTINGS, include_path="/data/tasks", default_volumes=ours)
    assert given(evaluator(settings)).harness.include_path == "/data/tasks"
    assert given(evaluator(settings, includePath="/own")).harness.include_path == "/own"
    own = [{"claimName": "own", "mountPath": "/data", "readOnly": False}]
    mounts = evaluator(settings, volumes=own)["volumeMounts"][-2:]
    assert [(mount["mountPath"], mount["readOnly"]) for mount in mounts] == [("/data", False), ("/more", True)]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod(settings, volumes=own)["volumes"][-2:]]
    assert claims == ["own", "more"]


def test_volumes_of_the_user_and_the_cache() -> None:
    settings = Settings(namespace="team", evaluator_image="e", reporter_image="r", cache_claim="cache")
    spec = {
        "volumes": [
            {"claimName": "c", "mountPath": "/data"},
            {"claimName": "c", "mountPath": "/out", "readOnly": False},
        ]
    }
    claims = [
        volume["persistentVolumeClaim"]
        for volume in pod(settings, **spec)["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert claims == [
        {"claimName": "cache"},
        {"claimName": "c", "readOnly": True},
        {"claimName": "c", "readOnly": False},
    ]
    assert evaluator(settings, **spec)["volumeMounts"][-2:] == [
        {"name": "user-0", "mountPath": "/data", "readOnly": True},
        {"name": "user-1", "mountPath": "/out", "readOnly": False},
    ]
    assert [volume for volume in pod()["volumes"] if volume["name"] == "cache"] == [{"name": "cache", "emptyDir": {}}]


def test_placement() -> None:
    settings = Settings(
        namespace="team",
        evaluator_image="e",
        reporter_image="r",
        image_pull_secrets=("pull",),
        default_node_selector={"gpu": "yes", "zone": "a"},
        default_tolerations=(Toleration(key="gpu", operator="Exists"),),
    )
    spec = pod(
        settings,
        nodeSelector={"zone": "b"},
        tolerations=[{"key": "x", "value": "y"}],
        priorityClassName="p",
        runtimeClassName="r",
    )
    assert spec["nodeSelector"] == {"gpu": "yes", "zone": "b"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}, {"key": "x", "value": "y"}]
    assert (spec["priorityClassName"], spec["runtimeClassName"], spec["imagePullSecrets"]) == (
        "p",
        "r",
        [{"name": "pull"}],
    )
    assert (
        not {"nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "imagePullSecrets"} & pod().keys()
    )


@pytest.mark.parametrize(
    ("gpus", "arguments", "expected"),
    [
        (0, {}, Launch(0, 1)),
        (1, {}, Launch(1, 1)),
        (4, {}, Launch(4, 4)),
        (4, {"device_map": "cuda"}, Launch(4, 4)),
        (4, {"device_map": "auto"}, Launch(4, 1)),
        (2, {"parallelize": True}, Launch(2, 1)),
        (1, {"tensor_parallel_size": 4}, Launch(4, 1)),
        (8, {"tensor_parallel_size": "2"}, Launch(8, 1)),
        (1, {"tp_size": 2}, Launch(2, 1)),
        (1, {"tensor_parallel_size": 2, "data_parallel_size": 2}, Launch(4, 4)),
        (8, {"data_parallel_size": 2}, Launch(8, 2)),
        (0, {"tensor_parallel_size": 1}, Launch(0, 1)),
        (2, {"tensor_parallel_size": "many"}, Launch(2, 2)),
    ],
)
def test_gpus_and_processes(gpus: int, arguments: dict[str, Any], expected: Launch) -> None:
    assert plan_launch(evaluation(gpus=gpus, modelArgs=arguments).spec) == expected
    told = given(evaluator(gpus=gpus, modelArgs=arguments))
    assert (told.gpus, told.processes) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"gpus": 8, "modelArgs": {"device_map": "auto"}, "processes": 8}, Launch(8, 8)),
        ({"gpus": 8, "modelArgs": {"tp": 8}, "processes": 1}, Launch(8, 1)),
        ({"gpus": 1, "modelArgs": {"tensor_parallel_size": 4}, "processes": 4}, Launch(4, 4)),
        ({"gpus": 0, "processes": 1}, Launch(0, 1)),
    ],
)
def test_the_number_of_processes_can_be_said_and_is_shown(spec: dict[str, Any], expected: Launch) -> None:
    told = given(evaluator(**spec))
    assert (told.gpus, told.processes) == expected
    made = manifest(**spec)
    made["metadata"] |= {"uid": "j", "resourceVersion": "7"}
    known = objects.parse_job(made)
    assert known is not None and known.processes == expected.processes


@pytest.mark.parametrize(("gpus", "processes"), [(0, 2), (1, 2), (4, 8)])
def test_more_processes_than_gpus_are_refused(gpus: int, processes: int) -> None:
    with pytest.raises(CannotRun, match=f"spec.processes is {processes}, and the pod gets {gpus} GPUs"):
        manifest(gpus=gpus, processes=processes)


def test_the_manifest_is_json() -> None:
    assert json.loads(json.dumps(manifest()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"tensor_parallel_size": "9" * 4096},
            "modelArgs.tensor_parallel_size must be at most 64, as a pod gets no more GPUs",
        ),
        ({"dp_size": 65}, "modelArgs.dp_size must be at most 64, as a pod gets no more GPUs, and is 65"),
        ({"tp_size": "0" * 9 + "100"}, "modelArgs.tp_size must be at most 64"),
        ({"tp_size": 16, "dp_size": 16}, "modelArgs ask for 16 x 16 GPUs"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_more_gpus_than_any_pod_gets_are_refused_and_not_reckoned_with(arguments: Any, told: str) -> None:
    with pytest.raises(CannotRun) as refused:
        plan_launch(EvaluationSpec(model="vllm", tasks=["mme"], model_args=arguments))
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize("size", ["٥٣", "1e3", "auto", "-1", "", 1e30, True])
def test_what_is_no_number_is_left_to_the_adapter(size: Any) -> None:
    spec = EvaluationSpec(model="vllm", tasks=["mme"], gpus=2, model_args={"tensor_parallel_size": size})
    assert plan_launch(spec) == Launch(2, 2)


def test_the_administrators_labels_and_annotations_are_the_pods_and_ours_win() -> None:
    mesh = {"sidecar.istio.io/inject": "false"}
    settings = replace(SETTINGS, pod_labels={**mesh, names.LABEL_SLOT: "9"}, pod_annotations=mesh)
    metadata = manifest(settings)["spec"]["template"]["metadata"]
    assert metadata["labels"] | {names.LABEL_SLOT: "1"} | mesh == metadata["labels"]
    assert metadata["annotations"] == {**mesh, **STAY}
    assert mesh.items().isdisjoint(manifest(settings)["metadata"]["labels"].items())
