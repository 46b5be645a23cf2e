"""The installed front end behind https, with the accounts of the cluster."""

import json
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import trustme
from release_fixtures import Release, build_smoke_evaluation

pytestmark = pytest.mark.system

SECRET = "front-end-tls"
READER = "authenticated-reader"
RULES = [{"apiGroups": ["lmms-eval.io"], "resources": ["lmmevaluations"], "verbs": ["get", "list"]}]


@pytest.fixture
def trust(release: Release) -> Iterator[ssl.SSLContext]:
    """https with a given certificate, and accounts instead of a token; as it was before, afterwards.

    What a caller trusts.
    """
    authority, kubectl = trustme.CA(), release.deployment
    service = f"{kubectl.release}-api"
    issued = authority.issue_cert(service, f"{service}.{kubectl.namespace}.svc", "localhost", "127.0.0.1")
    chain = "".join(blob.bytes().decode() for blob in issued.cert_chain_pems)
    files = {"tls.crt": chain, "tls.key": issued.private_key_pem.bytes().decode()}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET},
        "stringData": files,
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    kubectl.install(release.values | {"api": {"auth": "kubernetes", "tls": {"existingSecret": SECRET}}})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    yield context
    kubectl.install(release.values)
    kubectl("delete", "secret", SECRET)


@pytest.fixture
def reader(release: Release) -> Iterator[str]:
    """The token of an account that may read."""
    kubectl, name = release.deployment, READER
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": RULES}
    kubectl("create", "serviceaccount", name)
    kubectl("apply", "-f", "-", stdin=json.dumps(role))
    kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={kubectl.namespace}:{name}")
    yield kubectl("create", "token", name)
    for kind in ("rolebinding", "role", "serviceaccount"):
        kubectl("delete", kind, name)


def test_accounts_come_in_as_far_as_their_role_goes(release: Release, trust: ssl.SSLContext, reader: str) -> None:
    name = release.apply(build_smoke_evaluation("behind-tls", hold=True))
    release.wait(name, lambda status: status["reason"] == "OnHold", what="OnHold")
    with release.deployment.port_forward(f"{release.deployment.release}-api", 443) as url:
        headers = {"Authorization": f"Bearer {reader}"}
        options: dict[str, Any] = {"headers": headers, "event_hooks": {"request": [release.add_seen_version]}}
        with httpx.Client(base_url=url.replace("http:", "https:"), verify=trust, timeout=60, **options) as http:
            assert http.get(f"/jobs/{name}").json()["reason"] == "OnHold"
            refused = http.delete(f"/jobs/{name}")
            assert (refused.status_code, "Role" in refused.json()["detail"]) == (403, True)
            assert http.get("/queue", headers={"Authorization": "Bearer nobody"}).status_code == 401
    release.deployment("delete", "lmmevaluation", name)
    # Its pod has an account of its own, and asks by https.
    assert "Phase:          Succeeded" in release.deployment.helm(
        "test", release.deployment.release, "--timeout", "300s"
    )
