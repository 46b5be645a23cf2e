"""The chart in a real API server: install, upgrade, uninstall; every pod under Pod Security
`restricted`; kubeconform.
"""

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deployment
import namespaces
import pytest
from deployment import CHART, CommandFailed, Deployment, Kubectl
from provided import find_program

from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_operator.job_manifest import build_job
from lmms_eval_operator.settings import Settings

pytestmark = pytest.mark.integration

Object = dict[str, Any]
Render = Callable[..., list[Object]]

EVALUATION: Object = {
    "apiVersion": "lmms-eval.io/v1alpha1",
    "kind": "LMMEvaluation",
    "metadata": {"name": "kept"},
    "spec": {"model": "llava_hf", "tasks": ["mme"]},
}


@pytest.fixture
def release(kubectl: Kubectl, crd: None) -> Iterator[Deployment]:
    """A namespace of its own under `restricted`, where nothing is installed yet.

    No node: nothing that is installed runs.
    """
    made = Deployment(
        kubectl, namespaces.create_namespace(kubectl, **{"pod-security.kubernetes.io/enforce": "restricted"})
    )
    yield made
    # Cluster-wide objects go whatever the test left; the hook would need a node.
    made.helm("uninstall", made.release, "--no-hooks", "--ignore-not-found")
    kubectl("delete", "namespace", made.namespace, "--wait=false")


def install(release: Deployment, *settings: str) -> str:
    return release.helm("upgrade", "--install", release.release, str(CHART), *settings)


def secret(release: Deployment, name: str) -> Object:
    data: Object = release.json("get", "secret", name)["data"]
    return data


GENERATED = ("lmms-eval-token", "lmms-eval-session", "lmms-eval-store")


def test_a_token_and_the_stores_keys_are_made_once_and_kept(release: Deployment) -> None:
    notes = install(release)
    assert "kubectl" in notes and "helm -n" in notes
    before = [secret(release, name) for name in GENERATED]
    assert len(base64.b64decode(before[0]["token"])) == 43
    install(release, "--set", "operator.logLevel=debug")
    assert [secret(release, name) for name in GENERATED] == before


def test_the_cache_is_made_once_and_nobody_waits_for_it(release: Deployment) -> None:
    install(release)
    before = release.json("get", "pvc", "lmms-eval-cache")["metadata"]["uid"]
    install(release, "--set", "operator.logLevel=debug")
    assert release.json("get", "pvc", "lmms-eval-cache")["metadata"]["uid"] == before
    assert "lmms-eval-cache" not in re.findall(
        r"kind: PersistentVolumeClaim\nmetadata:\n  name: (\S+)", manifest(release)
    )


def test_another_image_lists_what_it_knows_and_the_same_one_does_not_again(release: Deployment) -> None:
    def jobs() -> list[str]:
        found = release.json("get", "jobs", "-l", "app.kubernetes.io/component=catalogue")["items"]
        return [item["metadata"]["uid"] for item in found]

    install(release)
    (first,) = jobs()
    install(release, "--set", "operator.logLevel=debug")
    assert jobs() == [first]
    for changed in ("images.evaluator.tag=v2", "catalogue.resources.limits.memory=2Gi"):
        before = jobs()
        install(release, "--set", changed)
        deployment.wait_until(lambda: len(jobs()) == 1, seconds=120, what="the Job before to go")
        assert jobs() != before
    install(release, "--set", "catalogue.enabled=false")
    deployment.wait_until(lambda: not jobs(), seconds=120, what="the Job to go")


def manifest(release: Deployment) -> str:
    """What the release holds, and `--wait` waits for."""
    return release.helm("get", "manifest", release.release)


def test_what_was_evaluated_outlives_the_release_and_a_new_one_takes_it_up(release: Deployment) -> None:
    install(release)
    release("create", "-f", "-", stdin=json.dumps(EVALUATION))
    release.helm("uninstall", release.release, "--no-hooks")
    assert release.json("get", "lmmevaluation", "kept")["status"]["phase"] == "Queued"
    assert release.json("get", "pvc", "lmms-eval-s3")["spec"]["resources"]["requests"]["storage"] == "20Gi"
    left = release.json("get", "deployments,jobs,configmaps,serviceaccounts,roles,secrets")["items"]
    assert not [item["metadata"]["name"] for item in left if item["metadata"]["name"].startswith("lmms-eval")]
    install(release)


def test_a_crd_that_is_there_already_is_used_and_not_touched(release: Deployment, kubectl: Kubectl) -> None:
    version = ["-o", "jsonpath={.metadata.resourceVersion}"]
    before = kubectl("get", "crd", deployment.CRD, *version)
    install(release)
    assert kubectl("get", "crd", deployment.CRD, *version) == before


def test_a_crd_of_another_version_is_named_and_not_touched(release: Deployment, kubectl: Kubectl) -> None:
    annotation = "lmms-eval.io/schema"
    known = kubectl.json("get", "crd", deployment.CRD)["metadata"]["annotations"][annotation]
    kubectl("annotate", "--overwrite", "crd", deployment.CRD, f"{annotation}=older")
    try:
        with pytest.raises(CommandFailed, match="another version of the CRD .*crds.install=false"):
            install(release)
        install(release, "--set", "crds.install=false")
    finally:
        kubectl("annotate", "--overwrite", "crd", deployment.CRD, f"{annotation}={known}")


def pods(objects: list[Object]) -> Iterator[Object]:
    """Every pod that the objects would make. Accounts are left out: the namespace has none of the release's."""
    for item in objects:
        if item["kind"] in ("Deployment", "Job", "Pod"):
            spec = item["spec"]["template"]["spec"] if item["kind"] != "Pod" else item["spec"]
            named = {"name": item["metadata"]["name"]}
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": named,
                "spec": {**spec, "serviceAccountName": "default"},
            }


def evaluators_job() -> Object:
    """The Job of an evaluation, as the operator makes it."""
    settings = Settings(
        namespace="a", evaluator_image="a", reporter_image="a", cache_claim="cache", reporter_service_account="default"
    )
    evaluation = LMMEvaluation.model_validate(
        {**EVALUATION, "metadata": {"name": "a", "namespace": "a", "uid": "0" * 36}}
    )
    return build_job(evaluation, attempt=1, slot=0, settings=settings)


def test_every_pod_is_accepted_under_restricted(release: Deployment, render: Render) -> None:
    deployment.wait_until(
        lambda: release.json("get", "serviceaccounts")["items"], seconds=120, what="the default service account"
    )
    wanted = list(pods([*render(), evaluators_job()]))
    assert len(wanted) == 7
    release("create", "--dry-run=server", "-f", "-", stdin=listed(wanted))


def test_restricted_refuses_what_is_not_locked_down(release: Deployment) -> None:
    bare = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted'):
        release("create", "--dry-run=server", "-f", "-", stdin=json.dumps(bare))


def listed(items: list[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def test_the_server_knows_every_field_of_every_object(release: Deployment, render: Render) -> None:
    objects = [item for item in render(namespace=release.namespace) if item["kind"] != "CustomResourceDefinition"]
    release("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=listed(objects))


def test_kubeconform_with_the_servers_own_schemas(kubectl: Kubectl, render: Render, tmp_path: Path) -> None:
    everything: Object = {"api": {"ingress": {"enabled": True, "host": "lmms-eval.example.com"}}}
    schemas(json.loads(kubectl("get", "--raw", "/openapi/v2")), tmp_path)
    location = f"{tmp_path}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = [find_program("kubeconform"), "-strict", "-summary", "-output", "json"]
    command += ["-schema-location", location, "-skip", "CustomResourceDefinition", "-"]
    done = subprocess.run(command, input=documents(render(everything)), capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert answer["resources"] == [] and done.returncode == 0, done.stdout
    assert answer["summary"]["valid"] > 20


def documents(items: list[Object]) -> str:
    return "\n---\n".join(json.dumps(item) for item in items)


def schemas(openapi: Object, folder: Path) -> None:
    """One schema file a kind, as kubeconform looks for them: group in short, version."""
    definitions = {name: strict(node) for name, node in openapi["definitions"].items()}
    (folder / "_definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, node in definitions.items():
        for kind in node.get("x-kubernetes-group-version-kind", []):
            suffix = "-".join(part for part in (kind["group"].split(".")[0], kind["version"]) if part)
            file = folder / f"{kind['kind'].lower()}-{suffix}.json"
            file.write_text(json.dumps({"$ref": f"_definitions.json#/definitions/{name}"}))


def strict(node: Object) -> Object:
    """A definition that refuses unknown fields and knows numbers where Kubernetes does."""
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    if "properties" in node:
        known = {name: strict(child) for name, child in node["properties"].items()}
        return {**node, "properties": known, "additionalProperties": False}
    return node


def test_the_server_finds_no_fault_in_the_policies(release: Deployment, kubectl: Kubectl) -> None:
    install(release)
    for policy in ("administrator", "model-args", "status"):
        name = f"validatingadmissionpolicy/{release.namespace}.lmms-eval.{policy}"
        deployment.wait_until(
            lambda name=name: "status" in kubectl.json("get", name), seconds=120, what="type checking"
        )
        assert kubectl.json("get", name)["status"]["typeChecking"] == {}
