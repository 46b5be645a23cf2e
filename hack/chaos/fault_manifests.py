"""Manifests of faults: policies and a quota that refuse objects, a policy that injects a container, a second pod. Pure.

`faults` applies them. They affect the release's namespace alone: the policies match Jobs and pods of evaluations, the
quota counts every Job.
"""

from collections.abc import Callable
from typing import Any, Final

from lmms_eval_core import names

Object = dict[str, Any]
API: Final = "admissionregistration.k8s.io/v1"
# On every policy and quota, so that those of a campaign that was killed are found.
LABEL: Final = "lmms-eval.io/chaos"
POLICY_RESOURCES: Final = (
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
)
INJECTED_CONTAINER: Final = "foreign"
# Runs until SIGTERM, as the proxies of service meshes do.
INJECTED_COMMAND: Final = ["sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]


def build_job_refusal(namespace: str) -> list[Object]:
    """Return a policy that refuses every Job of an evaluation."""
    return _build_refusal(namespace, group="batch", resource="jobs")


def build_pod_refusal(namespace: str) -> list[Object]:
    """Return a policy that refuses the pods of evaluations, but not their Jobs."""
    return _build_refusal(namespace, group="", resource="pods")


def build_job_quota(namespace: str) -> list[Object]:
    """Return a quota that allows no Job."""
    metadata = {"name": "chaos", "namespace": namespace, "labels": {LABEL: ""}}
    spec = {"hard": {"count/jobs.batch": "0"}}
    return [{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}]


def build_container_injection(namespace: str) -> list[Object]:
    """Return a policy that adds a container to each new pod of an evaluation."""
    container = (
        f"{{'name': dyn('{INJECTED_CONTAINER}'), 'command': dyn({INJECTED_COMMAND!r}),"
        " 'image': object.spec.containers[0].image, 'securityContext': object.spec.containers[0].securityContext}"
    )
    expression = f"[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {container}}}]"
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": _match_evaluations(namespace, group="", resource="pods"),
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }
    name = f"{namespace}.chaos-container"
    return [
        _build_policy_object("MutatingAdmissionPolicy", name, spec),
        _build_policy_object("MutatingAdmissionPolicyBinding", name, {"policyName": name}),
    ]


# By the kind of the fault, each a function of the release's namespace.
ADMISSION_FAULTS: Final[dict[str, Callable[[str], list[Object]]]] = {
    "refuse jobs": build_job_refusal,
    "refuse pods": build_pod_refusal,
    "limit jobs": build_job_quota,
    "inject container": build_container_injection,
}


def build_second_pod(job: Object) -> Object:
    """Return another pod of a Job, as its controller creates one when the answer to its first request was lost."""
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    pod_metadata = {
        "generateName": f"{metadata['name']}-second-",
        "ownerReferences": [owner],
        **template["metadata"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": pod_metadata, "spec": template["spec"]}


def _build_refusal(namespace: str, *, group: str, resource: str) -> list[Object]:
    name = f"{namespace}.chaos-{resource}"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": _match_evaluations(namespace, group=group, resource=resource),
        "validations": [{"expression": "false", "message": f"chaos takes no {resource} for now"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        _build_policy_object("ValidatingAdmissionPolicy", name, spec),
        _build_policy_object("ValidatingAdmissionPolicyBinding", name, binding),
    ]


def _match_evaluations(namespace: str, *, group: str, resource: str) -> Object:
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "objectSelector": {"matchExpressions": [{"key": names.LABEL_EVALUATION, "operator": "Exists"}]},
        "resourceRules": [rule],
    }


def _build_policy_object(kind: str, name: str, spec: Object) -> Object:
    """Return an object that has no namespace."""
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "labels": {LABEL: ""}}, "spec": spec}
