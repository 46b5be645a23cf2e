"""Access to the front end as the chart sets it up: authentication, https, limits, and network policies."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import namespaces
import pytest
import trustme
from deployment import CHART, CommandFailed, Deployment, Kubectl
from front_end_fixtures import TOKEN, StartFrontEnd

from lmms_eval_api.settings import ApiSettings, AuthMode
from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_operator.job_manifest import build_job
from lmms_eval_operator.settings import Settings as OperatorSettings

pytestmark = pytest.mark.integration

Object = dict[str, Any]
Render = Callable[..., list[Object]]

ISSUER: Object = {"api": {"tls": {"certManager": {"issuerRef": {"name": "ca"}, "dnsNames": ["lmms-eval.example.com"]}}}}


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def front_end(objects: list[Object]) -> Object:
    """The container."""
    (container,) = one(objects, "Deployment", "lmms-eval-api")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def settings(objects: list[Object]) -> ApiSettings:
    return ApiSettings.from_environment({item["name"]: item.get("value", "a") for item in front_end(objects)["env"]})


# Accounts and limits.


def test_the_clusters_accounts_need_one_binding_and_no_token_of_ours(render: Render) -> None:
    values: Object = {"api": {"auth": "kubernetes", "kubernetes": {"audience": "lmms-eval", "cacheSeconds": 5}}}
    objects = render(values)
    binding = one(objects, "ClusterRoleBinding", "team-a.lmms-eval.api")
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "Secret"] == [
        "lmms-eval-session",
        "lmms-eval-store",
    ]
    given = settings(objects)
    assert (given.auth, given.auth_audience, given.auth_cache_seconds) == (AuthMode.KUBERNETES, "lmms-eval", 5)
    pod = one(objects, "Pod", "lmms-eval-smoke-test")["spec"]
    (token,) = [volume for volume in pod["volumes"] if volume["name"] == "tokens"]
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "lmms-eval"
    (rule,) = one(objects, "Role", "lmms-eval-smoke-test")["rules"]
    assert rule["verbs"] == ["create", "get"]


def test_other_modes_bind_nothing_in_the_cluster(render: Render) -> None:
    for mode in ("token", "none"):
        assert not [item for item in render({"api": {"auth": mode}}) if item["kind"] == "ClusterRoleBinding"]


def test_limits_are_those_of_the_program_until_they_are_changed(render: Render) -> None:
    default, given = ApiSettings(), settings(render())
    limits = ("requests_per_second", "submissions_per_minute", "submission_burst", "max_streams", "request_seconds")
    for name in (*limits, "max_log_follows", "max_downloads", "max_body_bytes", "max_stale_seconds"):
        assert getattr(given, name) == getattr(default, name), name
    assert (given.metrics_port, given.auth_cache_seconds) == (default.metrics_port, default.auth_cache_seconds)
    values: Object = {"requestsPerSecond": 0, "streams": 7, "requestSeconds": 2.5, "bodyBytes": 4194304}
    given = settings(render({"api": {"limits": values, "maxStaleSeconds": 2.5}}))
    assert (given.requests_per_second, given.max_streams, given.request_seconds) == (0, 7, 2.5)
    assert (given.max_body_bytes, given.max_stale_seconds) == (4194304, 2.5)


# https.


@pytest.mark.parametrize(
    ("values", "secret"), [({"api": {"tls": {"existingSecret": "own"}}}, "own"), (ISSUER, "lmms-eval-tls")]
)
def test_with_a_certificate_all_is_https(render: Render, values: Object, secret: str) -> None:
    objects = render({**values, "api": {**values["api"], "ingress": {"enabled": True, "host": "a.example.com"}}})
    container = front_end(objects)
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"https": 8000, "metrics": 9090}
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"].items() >= {"port": "https", "scheme": "HTTPS"}.items()
    assert settings(objects).tls == Path("/var/run/lmms-eval/tls")
    volumes = one(objects, "Deployment", "lmms-eval-api")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "tls", "secret": {"secretName": secret}} in volumes
    (port,) = one(objects, "Service", "lmms-eval-api")["spec"]["ports"]
    assert port == {"name": "https", "port": 443, "targetPort": "https", "appProtocol": "https"}
    (path,) = one(objects, "Ingress", "lmms-eval-api")["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"]["port"] == {"name": "https"}
    smoke = json.dumps(one(objects, "Pod", "lmms-eval-smoke-test"))
    assert "https://lmms-eval-api:443" in smoke and f'"secretName": "{secret}"' in smoke
    # The key stays with the front end.
    assert '"items": [{"key": "tls.crt", "path": "tls.crt"}]' in smoke


def test_without_one_all_is_plain(render: Render) -> None:
    objects = render()
    assert settings(objects).tls is None
    (port,) = one(objects, "Service", "lmms-eval-api")["spec"]["ports"]
    assert port == {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"}
    assert front_end(objects)["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http", "scheme": "HTTP"}
    assert "tls" not in json.dumps(
        [front_end(objects)["volumeMounts"], one(objects, "Pod", "lmms-eval-smoke-test")["spec"]["volumes"]]
    )


def test_a_given_port_wins(render: Render) -> None:
    values: Object = {"api": {"service": {"port": 8443}, "tls": {"existingSecret": "own"}}}
    assert one(render(values), "Service", "lmms-eval-api")["spec"]["ports"][0]["port"] == 8443


def test_cert_manager_is_asked_for_the_names_of_the_service(render: Render) -> None:
    spec = one(render(ISSUER), "Certificate", "lmms-eval-api")["spec"]
    assert (spec["secretName"], spec["issuerRef"]) == ("lmms-eval-tls", {"name": "ca"})
    own = ["lmms-eval-api", "lmms-eval-api.team-a", "lmms-eval-api.team-a.svc"]
    assert spec["dnsNames"] == [*own, "lmms-eval.example.com"]
    assert "Certificate" not in {item["kind"] for item in render({"api": {"tls": {"existingSecret": "own"}}})}


def test_cert_manager_is_told_by_the_ingress_where_that_ends_tls(render: Render) -> None:
    told = {"cert-manager.io/cluster-issuer": "letsencrypt"}
    values = {"enabled": True, "host": "eval.example.com", "annotations": told, "tlsSecret": "front-end-tls"}
    ingress = one(render({"api": {"ingress": values}}), "Ingress", "lmms-eval-api")
    assert ingress["metadata"]["annotations"] == told
    # It makes a certificate for what stands here, into this Secret.
    assert ingress["spec"]["tls"] == [{"hosts": ["eval.example.com"], "secretName": "front-end-tls"}]


REFUSED = [
    ({"api": {"tls": {"existingSecret": "a", "certManager": {"issuerRef": {"name": "ca"}}}}}, "give one of them"),
    ({"api": {"limits": {"streams": -1}}}, "at '/api/limits/streams': minimum"),
    ({"api": {"limits": {"bodyBytes": 0}}}, "at '/api/limits/bodyBytes': minimum"),
    ({"api": {"maxStaleSeconds": -1}}, "at '/api/maxStaleSeconds': minimum"),
    ({"api": {"kubernetes": {"cacheSeconds": 0}}}, "at '/api/kubernetes/cacheSeconds': "),
    ({"networkPolicy": {"apiServer": {"cidrs": ["anywhere"]}}}, "at '/networkPolicy/apiServer/cidrs/0': "),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED, ids=[json.dumps(values)[:60] for values, _ in REFUSED])
def test_values_that_contradict_themselves_are_refused(render: Render, values: Object, sentence: str) -> None:
    with pytest.raises(CommandFailed, match=re.escape(sentence)):
        render(values)


def test_the_smoke_test_trusts_the_certificate_of_the_secret_and_no_other(
    start_front_end: StartFrontEnd, tmp_path: Path
) -> None:
    leaf = trustme.CA().issue_cert("lmms-eval.example.com")
    served, other = tmp_path / "tls", tmp_path / "other.crt"
    served.mkdir()
    leaf.cert_chain_pems[0].write_to_path(str(served / "tls.crt"))
    leaf.private_key_pem.write_to_path(str(served / "tls.key"))
    trustme.CA().issue_cert("lmms-eval.example.com").cert_chain_pems[0].write_to_path(str(other))
    started = start_front_end(LMMS_EVAL_API_TLS=str(served))
    url = started.url.replace("http:", "https:")
    tokens = tmp_path / "own-tokens"
    tokens.mkdir()
    (tokens / "token").write_text(TOKEN)

    def smoke(certificate: Path) -> str:
        told = {"URL": url, "TOKENS": str(tokens), "CERTIFICATE": str(certificate), "TIMEOUT_SECONDS": "0"}
        request = {"REQUEST": json.dumps({"model": "llava_hf", "tasks": ["mme"]})}
        script = [sys.executable, str(CHART / "scripts" / "smoke.py")]
        done = subprocess.run(script, env=told | request, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    while "Connection refused" in (said := smoke(served / "tls.crt")) or "503" in said:
        assert started.process.poll() is None, started.log.read_text()
    assert "no scores: queued" in said
    assert "CERTIFICATE_VERIFY_FAILED" in smoke(other)


# Who may reach whom.


def selects(selector: Object, labels: Object) -> bool:
    """As Kubernetes selects pods."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(term["key"]) in term["values"] for term in selector.get("matchExpressions", []))


def pods(objects: list[Object]) -> dict[str, Object]:
    """Labels of all pods that there will be, by a word."""
    named = {
        item["metadata"]["name"].removeprefix("lmms-eval-"): item["spec"]["template"]["metadata"]["labels"]
        for item in objects
        if item["kind"] in ("Deployment", "Job")
    }
    evaluation = LMMEvaluation.model_validate(
        {
            "apiVersion": "lmms-eval.io/v1alpha1",
            "kind": "LMMEvaluation",
            "metadata": {"name": "one", "namespace": "team-a", "uid": "0" * 36},
            "spec": {"model": "a", "tasks": ["b"]},
        }
    )
    operator = OperatorSettings.from_environment(
        {
            item["name"]: item.get("value", "a")
            for item in one(objects, "Deployment", "lmms-eval-operator")["spec"]["template"]["spec"]["containers"][0][
                "env"
            ]
        }
    )
    made = build_job(evaluation, attempt=1, slot=0, settings=operator)
    return named | {"evaluation": made["spec"]["template"]["metadata"]["labels"], "stranger": {"app": "else"}}


def policies(objects: list[Object], labels: Object) -> list[Object]:
    found = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
    return [spec for spec in found if selects(spec["podSelector"], labels)]


def may_reach(objects: list[Object], source: Object, target: Object, port: str) -> bool:
    """What the policies say of a connection within the namespace."""
    guards = policies(objects, target)
    return not guards or any(
        port in [item["port"] for item in rule["ports"]]
        and (
            "from" not in rule
            or any(selects(peer.get("podSelector", {"matchLabels": {"?": "?"}}), source) for peer in rule["from"])
        )
        for spec in guards
        for rule in spec.get("ingress", [])
    )


REACHES = {
    ("stranger", "api", "http"): True,
    ("stranger", "api", "metrics"): True,
    ("stranger", "api", "ssh"): False,
    ("stranger", "operator", "probes"): True,
    ("stranger", "operator", "http"): False,
    ("stranger", "s3", "s3"): False,
    ("operator", "s3", "s3"): False,
    ("api", "s3", "s3"): True,
    ("evaluation", "s3", "s3"): True,
    ("stranger", "evaluation", "anything"): False,
    ("evaluation", "evaluation", "anything"): False,
    ("api", "evaluation", "anything"): False,
}


@pytest.mark.parametrize(("source", "target", "port"), REACHES)
def test_who_may_reach_whom(render: Render, source: str, target: str, port: str) -> None:
    objects = render()
    known = pods(objects)
    assert may_reach(objects, known[source], known[target], port) is REACHES[source, target, port]


def test_every_pod_that_writes_to_the_store_may_reach_it(render: Render) -> None:
    objects = render()
    known = pods(objects)
    for item in (item for item in objects if item["kind"] in ("Deployment", "Job")):
        name = item["metadata"]["name"].removeprefix("lmms-eval-")
        containers = item["spec"]["template"]["spec"]["containers"] + item["spec"]["template"]["spec"].get(
            "initContainers", []
        )
        uses = any("lmms-eval-store" in json.dumps(container) for container in containers)
        if uses and name not in ("s3", "operator"):
            assert may_reach(objects, known[name], known["s3"], "s3"), name


def test_metrics_and_front_end_can_be_kept_to_some(render: Render) -> None:
    prometheus: Object = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    gateway: Object = {"podSelector": {"matchLabels": {"app": "gateway"}}}
    reader: Object = {"podSelector": {"matchLabels": {"app": "else"}}}
    peers = {"metrics": {"from": [prometheus]}, "api": {"from": [gateway]}, "store": {"from": [reader]}}
    objects = render({"networkPolicy": peers})
    known = pods(objects)
    for target, port in (("api", "http"), ("api", "metrics"), ("operator", "probes")):
        assert not may_reach(objects, known["stranger"], known[target], port)
    assert may_reach(objects, {"app": "gateway"}, known["api"], "http")
    assert may_reach(objects, known["stranger"], known["s3"], "s3")
    (rule,) = one(objects, "NetworkPolicy", "lmms-eval-operator")["spec"]["ingress"]
    assert rule["from"] == [prometheus]


def test_evaluations_reach_everything_unless_they_are_restricted(render: Render) -> None:
    open_: Object = {"networkPolicy": {"evaluations": {"blockedAddresses": []}}}
    assert one(render(open_), "NetworkPolicy", "lmms-eval-evaluations")["spec"]["policyTypes"] == ["Ingress"]
    hub: Object = {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}
    values: Object = {
        "evaluations": {"restrictEgress": True, "egress": [hub]},
        "apiServer": {"cidrs": ["10.96.0.1/32"], "ports": [443]},
    }
    spec = one(render({"networkPolicy": values}), "NetworkPolicy", "lmms-eval-evaluations")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, api_server, store, given = spec["egress"]
    assert [port["port"] for port in dns["ports"]] == [53, 53]
    assert api_server == {"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "10.96.0.1/32"}}]}
    assert (
        store["ports"] == [{"port": 7070}]
        and store["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "s3"
    )
    assert given == hub


def test_model_code_does_not_reach_the_clouds_metadata(render: Render) -> None:
    spec = one(render(), "NetworkPolicy", "lmms-eval-evaluations")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    addresses, ports = spec["egress"]
    (version4, version6, pods) = addresses["to"]
    assert version4 == {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32", "100.100.100.200/32"]}}
    assert version6 == {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}}
    assert pods == {"namespaceSelector": {}} and "ports" not in addresses
    # The metadata service answers at port 80; DNS may be at a link-local address, and the API server at a node's.
    assert ports.keys() == {"ports"} and [port["port"] for port in ports["ports"]] == [53, 53, 443, 6443]


def test_an_external_store_and_no_policies_at_all(render: Render) -> None:
    external: Object = {"store": {"embedded": {"enabled": False}, "url": "s3://bucket/prefix"}}
    names = {item["metadata"]["name"] for item in render(external) if item["kind"] == "NetworkPolicy"}
    assert names == {"lmms-eval-api", "lmms-eval-operator", "lmms-eval-evaluations"}
    assert "NetworkPolicy" not in {item["kind"] for item in render({"networkPolicy": {"enabled": False}})}


@pytest.fixture
def release(kubectl: Kubectl, crd: None) -> Iterator[Deployment]:
    """A namespace of its own, where nothing is installed yet."""
    made = Deployment(kubectl, namespaces.create_namespace(kubectl))
    yield made
    made.helm("uninstall", made.release, "--no-hooks", "--ignore-not-found")
    kubectl("delete", "namespace", made.namespace, "--wait=false")


def test_a_real_api_server_takes_all_of_it(release: Deployment, tmp_path: Path) -> None:
    peer: Object = {"from": [{"namespaceSelector": {}}]}
    evaluations: Object = {"restrictEgress": True, "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}
    values: Object = {
        "api": {"auth": "kubernetes", "tls": {"existingSecret": "own"}},
        "networkPolicy": {"api": peer, "metrics": peer, "store": peer, "evaluations": evaluations},
    }
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    notes = release.helm("upgrade", "--install", release.release, str(CHART), "-f", str(file))
    assert "create token evaluations" in notes and "https://127.0.0.1:8000/queue" in notes
    found = release.json("get", "networkpolicies")["items"]
    assert [item["metadata"]["name"] for item in found] == [
        f"lmms-eval-{name}" for name in ("api", "evaluations", "operator", "s3")
    ]
    service = release.json("get", "service", "lmms-eval-api")
    assert service["spec"]["ports"][0]["appProtocol"] == "https"
    binding = release.kubectl("get", "clusterrolebinding", f"{release.namespace}.lmms-eval.api", "-o", "name")
    assert binding.strip().endswith(f"{release.namespace}.lmms-eval.api")
