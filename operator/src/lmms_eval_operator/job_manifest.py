"""From an evaluation to the Job of one attempt: pure, so that the same attempt always gives the same Job.

The pod has two containers. `evaluator` runs the user's model without token and credentials; `reporter`, a native
sidecar from our own image, has both, starts first and ends last. They share the run directory and nothing else.
"""

from collections.abc import Mapping
from typing import Final

from lmms_eval_core import names
from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_core.kube.client import Object
from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.paths import CACHE_DIRECTORY, TEMPORARY_DIRECTORY, find_include_path_problem, list_private_caches
from lmms_eval_core.run import RUN_DIRECTORY, HarnessArguments, MediaLimits, RunInput
from lmms_eval_core.spec import REMOTE_CODE_ARG, EnvVar, EvaluationSpec, Volume
from lmms_eval_operator.gpus import CannotRun, plan_launch
from lmms_eval_operator.resources import build_container_resources, build_own_volume, build_shared_memory_volume
from lmms_eval_operator.settings import Settings

GRACE_SECONDS: Final = 60
# Not beneath the run directory: in most images /var/run is a link to /run.
TOKEN_DIRECTORY: Final = "/var/run/secrets/lmms-eval"
TOKEN_SECONDS: Final = 3600
STORE_CA_DIRECTORY: Final = "/var/run/secrets/lmms-eval-store"
# Linux refuses a longer environment variable.
MAX_RUN_INPUT: Final = 120 * 1024
# Evicting a run to save a node throws hours of GPU time away.
STAY: Final = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
LOCKED_DOWN: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def build_job(evaluation: LMMEvaluation, *, attempt: int, slot: int, settings: Settings) -> Object:
    """Return the manifest; its pods begin behind the scheduling gate. Raises CannotRun."""
    metadata = evaluation.metadata
    labels = {
        "app.kubernetes.io/name": "lmms-eval",
        "app.kubernetes.io/component": names.EVALUATOR_CONTAINER,
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_EVALUATION: metadata.name,
        names.LABEL_EVALUATION_UID: metadata.uid,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_SLOT: str(slot),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(evaluation=metadata.name, uid=metadata.uid, attempt=attempt),
            "labels": labels,
            "annotations": {names.ANNOTATION_PROCESSES: str(plan_launch(evaluation.spec).processes)},
            "ownerReferences": [_build_owner(evaluation)],
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {
                    "labels": {**settings.pod_labels, **labels},
                    "annotations": {**STAY, **settings.pod_annotations},
                },
                "spec": _build_pod_spec(evaluation, attempt, settings),
            },
        },
    }


def build_run_input(evaluation: LMMEvaluation, *, attempt: int, settings: Settings) -> RunInput:
    """Return the input of runner and reporter."""
    spec, metadata = evaluation.spec, evaluation.metadata
    launch = plan_launch(spec)
    return RunInput(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        attempt=attempt,
        harness=_build_harness(spec, settings),
        processes=launch.processes,
        gpus=launch.gpus,
        image=spec.image or settings.evaluator_image,
        trust_remote_code=spec.trust_remote_code,
        secret_env=[variable.name for variable in spec.env or () if variable.secret_key_ref],
        publish_timeout_seconds=settings.publish_timeout_seconds,
        resume=spec.resume,
        media=_build_media_limits(spec, settings),
        gate=spec.gate,
    )


def _build_media_limits(spec: EvaluationSpec, settings: Settings) -> MediaLimits:
    bound = settings.media
    wanted = spec.media or MediaPolicy.DISPLAY
    if not spec.log_samples:
        # Who wants no samples stored wants no pictures of them.
        wanted = MediaPolicy.NONE
    return MediaLimits(
        policy=wanted if bound.max.permits(wanted) else bound.max,
        file_bytes=bound.file_bytes,
        run_bytes=bound.run_bytes,
        fresh_seconds=settings.media_fresh_seconds,
    )


def _build_harness(spec: EvaluationSpec, settings: Settings) -> HarnessArguments:
    # Admission refuses it too, of what was created since it knows of that.
    if spec.include_path and (problem := find_include_path_problem(spec.include_path)):
        raise CannotRun(f"includePath {problem}")
    defaults = {"include_path": settings.include_path} if settings.include_path else {}
    given = defaults | spec.model_dump(include=set(HarnessArguments.model_fields), exclude_none=True)
    if spec.trust_remote_code:
        given["model_args"] = {**(spec.model_args or {}), REMOTE_CODE_ARG: True}
    return HarnessArguments(**given)


def _build_owner(evaluation: LMMEvaluation) -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": evaluation.metadata.name,
        "uid": evaluation.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _build_pod_spec(evaluation: LMMEvaluation, attempt: int, settings: Settings) -> Object:
    spec = evaluation.spec
    given = build_run_input(evaluation, attempt=attempt, settings=settings)
    optional = {
        "nodeSelector": {**settings.default_node_selector, **(spec.node_selector or {})},
        "tolerations": [item.to_wire() for item in (*settings.default_tolerations, *(spec.tolerations or ()))],
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "priorityClassName": spec.priority_class_name,
        "runtimeClassName": spec.runtime_class_name,
    }
    return {
        "restartPolicy": "Never",
        "serviceAccountName": settings.reporter_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "schedulingGates": [{"name": names.SCHEDULING_GATE}],
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": _build_pod_security(settings),
        "initContainers": [_build_reporter(given, settings)],
        "containers": [_build_evaluator(spec, given, settings)],
        "volumes": _list_volumes(spec, settings),
        **{name: value for name, value in optional.items() if value},
    }


def _build_pod_security(settings: Settings) -> Object:
    change = {"fsGroupChangePolicy": "OnRootMismatch"} if "fsGroup" in settings.pod_security else {}
    return {"runAsNonRoot": True, **settings.pod_security, **change, "seccompProfile": {"type": "RuntimeDefault"}}


def _build_evaluator(spec: EvaluationSpec, given: RunInput, settings: Settings) -> Object:
    own = {
        names.ENV_RUN: escape_literal(_dump_run_input(given)),
        names.ENV_RUN_DIRECTORY: str(RUN_DIRECTORY),
        "HF_HOME": f"{CACHE_DIRECTORY}/huggingface",
        "HOME": TEMPORARY_DIRECTORY,
        "TMPDIR": TEMPORARY_DIRECTORY,
        **list_private_caches(),
    }
    environment = {item["name"]: item for item in (*settings.default_env, *map(_build_user_variable, spec.env or ()))}
    mounts = [
        ("run", str(RUN_DIRECTORY)),
        ("cache", CACHE_DIRECTORY),
        ("tmp", TEMPORARY_DIRECTORY),
        ("dshm", "/dev/shm"),
    ]
    return {
        "name": names.EVALUATOR_CONTAINER,
        "image": given.image,
        "imagePullPolicy": settings.image_pull_policy,
        "securityContext": LOCKED_DOWN,
        "resources": build_container_resources(spec, settings, gpus=given.gpus),
        # Ours come last, and so win: the pod's own wiring is nobody's to change.
        "env": [*(environment[name] for name in environment if name not in own), *_list_variables(own)],
        "volumeMounts": [*_list_mounts(mounts), *_list_user_mounts(spec, settings)],
    }


def _build_reporter(given: RunInput, settings: Settings) -> Object:
    store = settings.store
    own = {
        names.ENV_RUN: escape_literal(_dump_run_input(given)),
        names.ENV_RUN_DIRECTORY: str(RUN_DIRECTORY),
        "LMMS_EVAL_STORE_URL": store.url,
        "LMMS_EVAL_STORE_ENDPOINT": store.endpoint,
        "LMMS_EVAL_STORE_REGION": store.region,
        "LMMS_EVAL_STORE_CA_FILE": f"{STORE_CA_DIRECTORY}/ca.crt" if store.ca_secret else "",
        "LMMS_EVAL_REPORTER_TOKEN_FILE": f"{TOKEN_DIRECTORY}/token",
        "LMMS_EVAL_REPORTER_CA_FILE": f"{TOKEN_DIRECTORY}/ca.crt",
    }
    return {
        "name": names.REPORTER_CONTAINER,
        "restartPolicy": "Always",
        "image": settings.reporter_image,
        "imagePullPolicy": settings.image_pull_policy,
        "securityContext": LOCKED_DOWN,
        "resources": settings.reporter_resources,
        "env": _list_variables({name: value for name, value in own.items() if value}),
        "envFrom": [{"secretRef": {"name": store.secret}}] if store.secret else [],
        "volumeMounts": [
            *_list_mounts([("run", str(RUN_DIRECTORY)), ("reporter-tmp", "/tmp")]),
            {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            *([{"name": "store-ca", "mountPath": STORE_CA_DIRECTORY, "readOnly": True}] if store.ca_secret else []),
        ],
        "startupProbe": {
            "exec": {"command": ["python", "-m", "lmms_eval_reporter.probe"]},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            # A store that is away is waited for, not failed: days, in practice for ever.
            "failureThreshold": 1_000_000,
        },
    }


def _dump_run_input(given: RunInput) -> str:
    text = given.to_json()
    if len(text.encode()) > MAX_RUN_INPUT:
        raise CannotRun(
            f"the arguments are longer than {MAX_RUN_INPUT // 1024} KiB in all: shorten them, or use a task group"
        )
    return text


def escape_literal(text: str) -> str:
    """Escape the value of an environment variable: the kubelet would expand `$(NAME)` and halve `$$`."""
    return text.replace("$", "$$")


def _list_variables(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _build_user_variable(variable: EnvVar) -> Object:
    if variable.secret_key_ref is None:
        return {"name": variable.name, "value": variable.value or ""}
    return {"name": variable.name, "valueFrom": {"secretKeyRef": variable.secret_key_ref.to_wire()}}


def _list_mounts(mounts: list[tuple[str, str]]) -> list[Object]:
    return [{"name": name, "mountPath": path} for name, path in mounts]


def _list_user_mounts(spec: EvaluationSpec, settings: Settings) -> list[Object]:
    return [
        {"name": f"user-{index}", "mountPath": volume.mount_path, "readOnly": volume.read_only}
        for index, volume in enumerate(_list_user_volumes(spec, settings))
    ]


def _list_user_volumes(spec: EvaluationSpec, settings: Settings) -> list[Volume]:
    """Return the volumes of the evaluation, and those of the release where it has nothing at their path."""
    own = spec.volumes or []
    taken = {volume.mount_path for volume in own}
    return [*own, *(volume for volume in settings.default_volumes if volume.mount_path not in taken)]


def _list_volumes(spec: EvaluationSpec, settings: Settings) -> list[Object]:
    authority = settings.store.ca_secret
    cache = {"persistentVolumeClaim": {"claimName": settings.cache_claim}} if settings.cache_claim else {"emptyDir": {}}
    return [
        {"name": "run", "emptyDir": build_own_volume("run", spec, settings)},
        {"name": "tmp", "emptyDir": build_own_volume("tmp", spec, settings)},
        {"name": "reporter-tmp", "emptyDir": {}},
        {"name": "cache", **cache},
        {"name": "dshm", "emptyDir": build_shared_memory_volume(spec, settings)},
        {"name": "token", "projected": {"sources": _build_token_sources()}},
        *([{"name": "store-ca", "secret": {"secretName": authority}}] if authority else []),
        *(_build_user_volume(index, volume) for index, volume in enumerate(_list_user_volumes(spec, settings))),
    ]


def _build_user_volume(index: int, volume: Volume) -> Object:
    claim = {"claimName": volume.claim_name, "readOnly": volume.read_only}
    return {"name": f"user-{index}", "persistentVolumeClaim": claim}


def _build_token_sources() -> list[Object]:
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
