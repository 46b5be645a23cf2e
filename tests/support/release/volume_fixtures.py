"""Fixture `run_in_volume`: a volume on the node that tests and evaluations share."""

import json
import secrets
from collections.abc import Callable

import deployment
import pytest
from release_fixtures import Release

CLAIM, MOUNT = "shared-by-tests", "/shared"
# As POST /evaluate takes it.
VOLUME = {"claim_name": CLAIM, "mount_path": MOUNT}

RunInVolume = Callable[..., str]


@pytest.fixture(scope="session")
def run_in_volume(release: Release) -> RunInVolume:
    """Run Python in the evaluator image with the volume mounted; return its output. Keywords are variables."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec}
    release.deployment("create", "-f", "-", stdin=json.dumps(claim))
    return lambda script, **environment: _run(release, script, environment)


def _run(release: Release, script: str, environment: dict[str, str]) -> str:
    name, image = f"in-volume-{secrets.token_hex(3)}", release.values["images"]["evaluator"]
    pod = deployment.bare_pod(name, image=f"{image['repository']}:{image['tag']}", command=["python", "-c", script])
    pod["spec"]["securityContext"]["fsGroup"] = 1000
    pod["spec"]["volumes"].append({"name": "volume", "persistentVolumeClaim": {"claimName": CLAIM}})
    (container,) = pod["spec"]["containers"]
    container["volumeMounts"].append({"name": "volume", "mountPath": MOUNT})
    container["env"] += [{"name": key, "value": value} for key, value in environment.items()]
    release.deployment("create", "-f", "-", stdin=json.dumps(pod))
    release.deployment("wait", "pod", name, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
    said = release.deployment("logs", name)
    release.deployment("delete", "pod", name, "--wait=false")
    return said
