"""The way to a front end by kubeconfig: what kubectl tells of the chart's objects. The tunnel itself: tests/system."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from command_fixtures import CommandLine
from deployment import CHART, Kubectl
from provided import find_program

from lmms_eval_client.cli import tunnel
from lmms_eval_client.cli.exits import CliError, ExitCode
from lmms_eval_client.cli.tunnel import KubectlContext

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def cluster(kubectl: Kubectl, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubectlContext:
    (tmp_path / "kubectl").symlink_to(kubectl.binary)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return KubectlContext(namespace=namespace, kubeconfig=kubectl.kubeconfig)


def install(kubectl: Kubectl, namespace: str, release: str, *values: str) -> None:
    """The front end's objects, as the chart makes them. Without a node nothing of it runs."""
    command = [find_program("helm"), "template", release, str(CHART), "--namespace", namespace]
    command += ["--show-only", "templates/api.yaml", *(f"--set={value}" for value in values)]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kubectl("--namespace", namespace, "apply", "-f", "-", stdin=rendered)


def test_a_release_is_found_with_its_token(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval")
    found = tunnel.find_front_end(cluster, "")
    assert (found.name, found.release, found.auth, found.port, found.scheme) == (
        "lmms-eval-api",
        "lmms-eval",
        "token",
        8000,
        "http",
    )
    token = tunnel.read_token(cluster, found)
    assert token and len(token) == 43


def test_one_that_speaks_tls_is_spoken_to_in_tls(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval", "api.tls.existingSecret=front-end")
    assert tunnel.find_front_end(cluster, "").scheme == "https"


def test_one_of_several_is_chosen_by_name(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval")
    install(kubectl, cluster.namespace, "mine", "nameOverride=evals", "api.auth=none")
    with pytest.raises(CliError, match="--release, one of lmms-eval, mine"):
        tunnel.find_front_end(cluster, "")
    found = tunnel.find_front_end(cluster, "mine")
    assert (found.name, tunnel.read_token(cluster, found)) == ("mine-evals-api", None)


def test_a_secret_of_the_administrators_own_is_read(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval", "api.existingSecret=ours")
    kubectl("--namespace", cluster.namespace, "create", "secret", "generic", "ours", "--from-literal=ci=abc")
    assert tunnel.read_token(cluster, tunnel.find_front_end(cluster, "")) == "abc"


def test_where_kubernetes_opens_the_door_a_token_is_asked_for(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval", "api.auth=kubernetes")
    with pytest.raises(CliError, match="kubectl create token") as caught:
        tunnel.read_token(cluster, tunnel.find_front_end(cluster, ""))
    assert caught.value.code is ExitCode.FORBIDDEN


def test_kubectl_makes_the_token_of_an_account_that_is_named(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval", "api.auth=kubernetes", "api.kubernetes.audience=lmms-eval")
    kubectl("--namespace", cluster.namespace, "create", "serviceaccount", "ci")
    found = tunnel.find_front_end(cluster, "")
    token = tunnel.read_token(cluster, found, "ci")
    assert token is not None
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert (claims["aud"], claims["sub"]) == (["lmms-eval"], f"system:serviceaccount:{cluster.namespace}:ci")
    assert claims["exp"] - claims["iat"] == tunnel.TOKEN_SECONDS > tunnel.RENEW_SECONDS


def test_a_secret_that_cannot_be_read_is_asked_for(kubectl: Kubectl, cluster: KubectlContext) -> None:
    install(kubectl, cluster.namespace, "lmms-eval", "api.existingSecret=none")
    with pytest.raises(CliError, match='secrets "none" not found. Give the front end'):
        tunnel.read_token(cluster, tunnel.find_front_end(cluster, ""))


def test_other_peoples_components_are_passed_over(kubectl: Kubectl, cluster: KubectlContext) -> None:
    container = {"name": "api", "image": "registry.example.com/other"}
    labels = {"app.kubernetes.io/component": "api"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    other = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other", "labels": labels}}
    other["spec"] = {"selector": {"matchLabels": labels}, "template": template}
    kubectl("--namespace", cluster.namespace, "apply", "-f", "-", stdin=json.dumps(other))
    with pytest.raises(CliError, match="There is no lmms-eval in the namespace"):
        tunnel.find_front_end(cluster, "")


def test_the_command_line_says_why_it_gets_nowhere(kubectl: Kubectl, cluster: KubectlContext) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    lmmeval = CommandLine(environment)
    flags = ("-n", cluster.namespace, "--kubeconfig", cluster.kubeconfig)
    assert "There is no lmms-eval in the namespace" in lmmeval("ls", *flags).stderr
    assert lmmeval("ls", *flags).returncode == 2
    # A flag that names a cluster is meant, whatever the environment says.
    lmmeval.environment["LMMS_EVAL_URL"] = "http://127.0.0.1:1"
    assert "There is no lmms-eval in the namespace" in lmmeval("ls", *flags).stderr
    gone = lmmeval("ls", "--kubeconfig", "/no/such/file")
    assert (gone.returncode, gone.stderr.count("\n")) == (5, 1) and "kubectl says: " in gone.stderr
    bare = CommandLine({"PATH": "/nonexistent"})("ls")
    assert (bare.returncode, "Install it, or give" in bare.stderr) == (2, True)


def test_what_is_wrong_by_itself_is_told_without_a_cluster(without_server: CommandLine) -> None:
    done = without_server("submit", "--model", "llava_hf")
    assert (done.returncode, done.stderr) == (2, "lmmeval: Say which tasks by --tasks, or give a file by -f.\n")
