"""Faults of the cluster's own rules, as manifests: policies and a quota that refuse, a container that a policy injects. Pure.

`faults` applies them for some seconds. They concern Jobs and pods of evaluations alone, in the namespace of the release.
"""

from collections.abc import Callable
from typing import Any, Final

from lmms_eval_core import names

Object = dict[str, Any]
API: Final = "admissionregistration.k8s.io/v1"
# On all that a fault makes, so that what a killed run has left is found.
LABEL: Final = "lmms-eval.io/chaos"
KINDS: Final = (
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
)
FOREIGN: Final = "foreign"
# It ends when it is told to, and not before, as the proxies of service meshes do.
WAITS_FOR_SIGTERM: Final = ["sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]


def refuse_jobs(namespace: str) -> list[Object]:
    """A policy that refuses every Job of an evaluation."""
    return _refusal(namespace, group="batch", resource="jobs")


def refuse_pods(namespace: str) -> list[Object]:
    """A policy that refuses the pods of evaluations, and takes their Jobs."""
    return _refusal(namespace, group="", resource="pods")


def limit_jobs(namespace: str) -> list[Object]:
    """A quota that is used up."""
    metadata = {"name": "chaos", "namespace": namespace, "labels": {LABEL: ""}}
    return [{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"count/jobs.batch": "0"}}}]


def inject_container(namespace: str) -> list[Object]:
    """A policy that adds a container to each new pod of an evaluation."""
    container = (
        f"{{'name': dyn('{FOREIGN}'), 'command': dyn({WAITS_FOR_SIGTERM!r}),"
        " 'image': object.spec.containers[0].image, 'securityContext': object.spec.containers[0].securityContext}"
    )
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": _evaluations(namespace, group="", resource="pods"),
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {"expression": f"[JSONPatch{{op: 'add', path: '/spec/containers/-', value: {container}}}]"},
            }
        ],
    }
    name = f"{namespace}.chaos-container"
    return [_wide("MutatingAdmissionPolicy", name, spec), _wide("MutatingAdmissionPolicyBinding", name, {"policyName": name})]


# By the verb of the blow. Each lasts for some seconds.
PASSING: Final[dict[str, Callable[[str], list[Object]]]] = {
    "refuse jobs": refuse_jobs,
    "refuse pods": refuse_pods,
    "limit jobs": limit_jobs,
    "inject container": inject_container,
}


def second_pod(job: Object) -> Object:
    """Another pod of a Job, as its controller makes one when the answer to its first try was lost."""
    metadata, template = job["metadata"], job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
    own = {"generateName": f"{metadata['name']}-second-", "ownerReferences": [owner], **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": template["spec"]}


def _refusal(namespace: str, *, group: str, resource: str) -> list[Object]:
    name = f"{namespace}.chaos-{resource}"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": _evaluations(namespace, group=group, resource=resource),
        "validations": [{"expression": "false", "message": f"chaos takes no {resource} for now"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [_wide("ValidatingAdmissionPolicy", name, spec), _wide("ValidatingAdmissionPolicyBinding", name, binding)]


def _evaluations(namespace: str, *, group: str, resource: str) -> Object:
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "objectSelector": {"matchExpressions": [{"key": names.LABEL_EVALUATION, "operator": "Exists"}]},
        "resourceRules": [rule],
    }


def _wide(kind: str, name: str, spec: Object) -> Object:
    """An object of the whole cluster."""
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "labels": {LABEL: ""}}, "spec": spec}
