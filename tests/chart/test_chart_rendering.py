"""What the chart renders: names, rights, security, images, and the environment that the programs then read."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import CHART, ROOT, CommandFailed
from recorded_environment import RecordedEnvironment

from lmms_eval_api.settings import ApiSettings, AuthMode, ProxyHeaders
from lmms_eval_core.paths import DOT_SEGMENT, RESERVED_MOUNTS, WRITTEN_BY_RUNS
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_operator.settings import Settings as OperatorSettings
from lmms_eval_reporter.catalogue import CatalogueUpload

pytestmark = pytest.mark.integration

Object = dict[str, Any]
Render = Callable[..., list[Object]]

EVERYTHING: Object = {
    "images": {"registry": "registry.example.com/team/", "tag": "v9", "api": {"digest": "sha256:" + "0" * 64}},
    "imagePullSecrets": [{"name": "pull"}],
    "evaluator": {
        "resources": {"cpu": 2, "memory": "8Gi"},
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "env": [{"name": "SSL_CERT_FILE", "value": "/cache/ca.crt"}],
        "huggingFaceEndpoint": "https://hub.example.com",
        "proxy": {"httpsProxy": "http://proxy:3128", "noProxy": ".svc"},
    },
    "store": {"embedded": {"nodeSelector": {"disk": "big"}, "storageClass": "fast"}},
    "operator": {"podAnnotations": {"a": "b"}, "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
    "api": {
        "rootPath": "/lmms-eval",
        "replicas": 2,
        "ingress": {"enabled": True, "host": "lmms-eval.example.com", "className": "nginx", "tlsSecret": "tls"},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["lmms-eval.example.com"]},
    },
    "policies": {"images": ["registry.example.com/team/*"], "trustRemoteCode": True},
    "retention": {
        "maxFinished": 0,
        "deleteFiles": False,
        "graceSeconds": 2592000,
        "intervalSeconds": 60,
        "mediaBytes": 5_000_000_000,
    },
    "metrics": {part: {"enabled": True} for part in ("serviceMonitor", "rules", "dashboard")},
}
EXTERNAL: Object = {
    "cache": {"enabled": False},
    "api": {"auth": "none"},
    "policies": {"install": False},
    "crds": {"install": False},
    "store": {"embedded": {"enabled": False}, "url": "s3://bucket/prefix", "existingSecret": "bucket"},
}
# The accounts of the cluster as callers, https by cert-manager, and evaluations that reach nobody.
GUARDED: Object = {
    "api": {"auth": "kubernetes", "tls": {"certManager": {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}}},
    "networkPolicy": {"evaluations": {"restrictEgress": True}},
}
VARIANTS: dict[str, Object] = {"default": {}, "everything": EVERYTHING, "external": EXTERNAL, "guarded": GUARDED}
CLUSTER_WIDE = {
    "CustomResourceDefinition",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


@pytest.fixture(params=VARIANTS.values(), ids=list(VARIANTS))
def objects(request: pytest.FixtureRequest, render: Render) -> list[Object]:
    return render(request.param)


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def pod_specs(objects: list[Object]) -> Iterator[Object]:
    for item in objects:
        if item["kind"] == "Pod":
            yield item["spec"]
        elif item["kind"] in ("Deployment", "Job"):
            yield item["spec"]["template"]["spec"]


def containers(objects: list[Object]) -> Iterator[Object]:
    for spec in pod_specs(objects):
        yield from [*spec.get("initContainers", []), *spec["containers"]]


def environment(objects: list[Object], name: str) -> dict[str, str]:
    (container,) = one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item.get("value", "team-a") for item in container["env"]}


def test_names_begin_with_the_release_and_cluster_wide_ones_with_the_namespace(objects: list[Object]) -> None:
    for item in objects:
        name, kind = item["metadata"]["name"], item["kind"]
        if kind == "CustomResourceDefinition":
            assert name == "lmmevaluations.lmms-eval.io"
        elif kind in CLUSTER_WIDE:
            assert name.startswith("team-a.lmms-eval.")
        else:
            assert name.startswith("lmms-eval-")


def test_another_release_name_is_put_before(render: Render) -> None:
    names = {item["metadata"]["name"] for item in render(release="team.one") if item["kind"] not in CLUSTER_WIDE}
    assert all(name.startswith("team-one-lmms-eval-") for name in names)


def test_every_object_carries_the_common_labels(objects: list[Object]) -> None:
    for item in objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "lmms-eval"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_nobody_has_a_right_outside_the_namespace_or_a_wildcard(objects: list[Object]) -> None:
    assert "ClusterRole" not in {item["kind"] for item in objects}
    for binding in (item for item in objects if item["kind"] == "ClusterRoleBinding"):
        # Mode kubernetes asks the API server who calls; that right exists for the whole cluster only.
        assert binding["roleRef"]["name"] == "system:auth-delegator"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "lmms-eval-api", "namespace": "team-a"}]
    rules = [rule for item in objects if item["kind"] == "Role" for rule in item["rules"]]
    assert rules
    for rule in rules:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert "secrets" not in rule["resources"]


@pytest.mark.parametrize("member", ["operator", "api"])
def test_a_role_holds_the_rights_that_the_readme_names(render: Render, member: str) -> None:
    role = one(render(), "Role", f"lmms-eval-{member}")
    given = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == set(rights((ROOT / member / "README.md").read_text()))


def rights(readme: str) -> Iterator[tuple[str, str, str]]:
    """(group, resource, verb) of the table under "Rights it needs"."""
    for line in readme.partition("## Rights it needs")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] != "API group" and not set(cells[0]) <= set("-"):
            for verb in cells[2].split(", "):
                yield ("" if cells[0] == "(core)" else cells[0]), cells[1], verb


def test_every_container_is_locked_down_and_bounded(objects: list[Object]) -> None:
    for container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_every_pod_says_who_it_is_and_takes_no_token_by_accident(objects: list[Object]) -> None:
    for spec in pod_specs(objects):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        projected = any("projected" in volume for volume in spec["volumes"])
        assert spec["automountServiceAccountToken"] is ("serviceAccountName" in spec and not projected)
    for account in (item for item in objects if item["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_images_follow_registry_tag_and_digest(render: Render) -> None:
    default = {container["image"] for container in containers(render())}
    assert default == {f"lmms-eval/{name}:0.1.0" for name in ("operator", "api", "evaluator", "reporter", "s3")}
    prefix = "registry.example.com/team/lmms-eval"
    set_ = {container["image"] for container in containers(render(EVERYTHING))}
    tagged = {f"{prefix}/{name}:v9" for name in ("operator", "evaluator", "reporter", "s3")}
    assert set_ == tagged | {f"{prefix}/api@sha256:" + "0" * 64}


def test_pull_secrets_reach_every_pod(render: Render) -> None:
    objects = render(EVERYTHING)
    assert all(spec["imagePullSecrets"] == [{"name": "pull"}] for spec in pod_specs(objects))
    assert json.loads(environment(objects, "lmms-eval-operator")["LMMS_EVAL_IMAGE_PULL_SECRETS"]) == ["pull"]


def test_the_operator_reads_every_variable_that_it_is_given(render: Render) -> None:
    variables = RecordedEnvironment(environment(render(EVERYTHING), "lmms-eval-operator"))
    settings = OperatorSettings.from_environment(variables)
    # kopf reads POD_ID by itself.
    assert set(variables) - {"POD_ID"} == variables.asked
    assert settings.evaluator_image == "registry.example.com/team/lmms-eval/evaluator:v9"
    assert settings.reporter_service_account == "lmms-eval-reporter"
    assert settings.store.url == "s3://lmms-eval"
    assert settings.store.endpoint == "http://lmms-eval-s3.team-a.svc:7070"
    assert settings.store.secret == "lmms-eval-store"
    assert settings.cache_claim == "lmms-eval-cache"
    assert settings.default_resources.to_wire() == {"cpu": 2, "memory": "8Gi", "sharedMemory": "2Gi"}
    assert settings.default_requests.to_wire() == {"memory": "2Gi", "ephemeralStorage": "1Gi"}
    assert settings.default_limits.to_wire() == {"ephemeralStorage": "200Gi"}
    assert settings.volume_sizes == {"run": "20Gi", "tmp": "50Gi"}
    assert (
        settings.reporter_resources
        == OperatorSettings(namespace="", evaluator_image="", reporter_image="").reporter_resources
    )
    assert settings.pod_security == {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}
    assert settings.default_node_selector == {"gpu": "yes"}
    assert [item.key for item in settings.default_tolerations] == ["gpu"]
    assert {item["name"]: item["value"] for item in settings.default_env} == {
        "HTTPS_PROXY": "http://proxy:3128",
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": ".svc",
        "no_proxy": ".svc",
        "HF_ENDPOINT": "https://hub.example.com",
        "SSL_CERT_FILE": "/cache/ca.crt",
    }


def test_the_operator_of_an_external_store(render: Render) -> None:
    settings = OperatorSettings.from_environment(environment(render(EXTERNAL), "lmms-eval-operator"))
    assert (settings.store.url, settings.store.endpoint, settings.store.secret) == ("s3://bucket/prefix", "", "bucket")
    assert settings.cache_claim == ""


def test_the_front_end_reads_every_variable_that_it_is_given(render: Render) -> None:
    variables = RecordedEnvironment(environment(render(EVERYTHING), "lmms-eval-api"))
    settings = ApiSettings.from_environment(variables)
    store = StoreSettings.from_environment(variables)
    assert set(variables) <= variables.asked
    # A pod listens on all of its addresses, and ends within the grace that Kubernetes gives it. The image has the page.
    defaults = {"LMMS_EVAL_API_HOST", "LMMS_EVAL_API_SHUTDOWN_SECONDS", "LMMS_EVAL_API_WEB"}
    assert variables.asked - set(variables) == defaults
    assert (settings.session_keys, settings.session_name) == (Path("/var/run/lmms-eval/session"), "team-a.lmms-eval")
    assert (settings.auth, settings.root_path, settings.port) == (AuthMode.TOKEN, "/lmms-eval", 8000)
    assert (settings.sweep, settings.sweep_interval_seconds, settings.sweep_grace_seconds) == (False, 60, 2592000)
    assert settings.media_bytes == 5_000_000_000
    assert (store.url, store.endpoint) == ("s3://lmms-eval", "http://lmms-eval-s3.team-a.svc:7070")


def catalogue_containers(objects: list[Object]) -> tuple[Object, Object]:
    (job,) = [item for item in objects if item["kind"] == "Job" and "-catalogue-" in item["metadata"]["name"]]
    spec = job["spec"]["template"]["spec"]
    return spec["initContainers"][0], spec["containers"][0]


def variables_of(container: Object) -> RecordedEnvironment:
    return RecordedEnvironment({item["name"]: item.get("value", "team-a") for item in container["env"]})


def test_what_brings_the_catalogue_reads_every_variable_that_it_is_given(render: Render) -> None:
    variables = variables_of(catalogue_containers(render())[1])
    CatalogueUpload.from_environment(variables)
    assert set(variables) == variables.asked


PRIVATE: Object = {
    **EXTERNAL,
    "store": {**EXTERNAL["store"], "endpoint": "https://s3.example.com", "caSecret": "authority"},
}


def test_a_private_authority_of_the_store_reaches_whoever_reads_and_writes_there(render: Render) -> None:
    objects = render(PRIVATE)
    assert environment(objects, "lmms-eval-operator")["LMMS_EVAL_STORE_CA_SECRET"] == "authority"
    api = one(objects, "Deployment", "lmms-eval-api")["spec"]["template"]["spec"]
    (front_end,), reporter = api["containers"], catalogue_containers(objects)[1]
    volume = {"name": "store-ca", "secret": {"secretName": "authority"}}
    assert volume in api["volumes"] and json.dumps(objects).count(json.dumps(volume)) == 2
    for container in (front_end, reporter):
        file = StoreSettings.from_environment(variables_of(container)).ca_file
        assert file is not None and file.name == "ca.crt"
        assert {"name": "store-ca", "mountPath": str(file.parent), "readOnly": True} in container["volumeMounts"]
    assert "store-ca" not in json.dumps(render())


def test_tasks_of_the_releases_own_folder_are_in_the_catalogue(render: Render) -> None:
    volumes = [{"claimName": "tasks", "mountPath": "/data"}]
    objects = render({"evaluator": {"includePath": "/data/tasks", "volumes": volumes}})
    settings = OperatorSettings.from_environment(environment(objects, "lmms-eval-operator"))
    assert settings.include_path == "/data/tasks"
    assert [volume.to_wire() for volume in settings.default_volumes] == [{**volumes[0], "readOnly": True}]
    evaluator, _ = catalogue_containers(objects)
    assert variables_of(evaluator)["LMMS_EVAL_INCLUDE_PATH"] == "/data/tasks"
    assert {"name": "user-0", "mountPath": "/data", "readOnly": True} in evaluator["volumeMounts"]


def test_the_cluster_may_say_who_pods_run_as(render: Render) -> None:
    objects = render({"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}})
    for spec in pod_specs(objects):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    settings = OperatorSettings.from_environment(environment(objects, "lmms-eval-operator"))
    assert settings.pod_security == {}
    given = OperatorSettings.from_environment(
        environment(render({"podSecurityContext": {"fsGroup": 1000680000}}), "lmms-eval-operator")
    )
    assert given.pod_security["fsGroup"] == 1000680000


def test_every_container_can_meet_a_quota_on_cpu_limits(render: Render) -> None:
    bounded: Object = {"resources": {"limits": {"cpu": "1"}}}
    rooms = {name: bounded for name in ("operator", "api", "catalogue", "reporter", "hooks")}
    objects = render({**rooms, "store": {"embedded": bounded}, "evaluator": {"limits": {"cpu": "8"}}})
    assert all("cpu" in container["resources"]["limits"] for container in containers(objects))
    settings = OperatorSettings.from_environment(environment(objects, "lmms-eval-operator"))
    assert settings.default_limits.cpu == "8"
    assert settings.reporter_resources["limits"] == {"cpu": "1", "memory": "512Mi"}


@pytest.mark.parametrize(("values", "secret"), [({}, "lmms-eval-store"), (EXTERNAL, "bucket")])
def test_the_front_end_starts_without_the_stores_secret(render: Render, values: Object, secret: str) -> None:
    (container,) = one(render(values), "Deployment", "lmms-eval-api")["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": secret, "optional": True}}]


def test_the_front_end_may_read_no_namespace_but_its_own(render: Render) -> None:
    (rule,) = [rule for rule in one(render(), "Role", "lmms-eval-api")["rules"] if rule["resources"] == ["namespaces"]]
    assert (rule["resourceNames"], rule["verbs"]) == (["team-a"], ["get"])


def test_what_stays_by_default_is_what_the_programs_keep(render: Render) -> None:
    objects = render()
    operator = OperatorSettings.from_environment(environment(objects, "lmms-eval-operator"))
    api, default = ApiSettings.from_environment(environment(objects, "lmms-eval-api")), ApiSettings()
    assert operator.max_finished == OperatorSettings.max_finished == 100
    assert (api.sweep, api.sweep_interval_seconds) == (default.sweep, default.sweep_interval_seconds)
    assert api.media_bytes == default.media_bytes
    assert api.sweep_grace_seconds == default.sweep_grace_seconds == 7 * 24 * 3600


def test_without_a_token_nothing_mounts_one(render: Render) -> None:
    objects = render(EXTERNAL)
    assert "Secret" not in {item["kind"] for item in objects}
    volumes = json.dumps([spec["volumes"] for spec in pod_specs(objects)])
    assert "tokens" not in volumes and "session" not in volumes
    assert ApiSettings.from_environment(environment(objects, "lmms-eval-api")).session_keys is None
    assert environment(objects, "lmms-eval-api")["LMMS_EVAL_API_AUTH"] == "none"


def test_a_front_end_without_authentication_knows_its_names(render: Render) -> None:
    values: Object = {
        "auth": "none",
        "ingress": {"enabled": True, "host": "lmms-eval.example.com"},
        "web": {"hosts": ["lmms-eval.internal"]},
    }
    settings = ApiSettings.from_environment(environment(render({"api": values}), "lmms-eval-api"))
    service = [f"lmms-eval-api{rest}" for rest in ("", ".team-a", ".team-a.svc", ".team-a.svc.cluster.local")]
    assert settings.hosts == (*service, "lmms-eval.example.com", "lmms-eval.internal")


def test_a_proxy_in_front_shares_a_secret(render: Render) -> None:
    proxy: Object = {"userHeader": "X-Auth-Request-User"}
    objects = render({"api": {"auth": "proxy", "proxy": proxy}})
    settings = ApiSettings.from_environment(environment(objects, "lmms-eval-api"))
    assert settings.auth is AuthMode.PROXY
    assert settings.proxy_headers == ProxyHeaders(user="X-Auth-Request-User")
    (volume,) = [
        volume
        for spec in pod_specs(objects)
        for volume in spec["volumes"]
        if volume.get("secret", {}).get("secretName") == "lmms-eval-proxy"
    ]
    assert volume["name"] == "proxy"
    assert len(one(objects, "Secret", "lmms-eval-proxy")["data"]["secret"]) > 43
    given = render({"api": {"auth": "proxy", "proxy": {"existingSecret": "ours"}}})
    assert "lmms-eval-proxy" not in json.dumps(given)
    assert "ClusterRoleBinding" in {item["kind"] for item in given}


def test_given_secrets_and_claims_are_used_and_none_is_made(render: Render) -> None:
    claims: Object = {
        "cache": {"existingClaim": "hub"},
        "store": {"embedded": {"existingClaim": "disk"}, "existingSecret": "keys"},
    }
    objects = render({**claims, "api": {"existingSecret": "tokens", "web": {"existingSecret": "seals"}}})
    assert not {"Secret", "PersistentVolumeClaim"} & {item["kind"] for item in objects}
    assert environment(objects, "lmms-eval-operator")["LMMS_EVAL_CACHE_CLAIM"] == "hub"
    assert environment(objects, "lmms-eval-operator")["LMMS_EVAL_STORE_SECRET"] == "keys"
    text = json.dumps(list(pod_specs(objects)))
    assert '"claimName": "disk"' in text and '"secretName": "tokens"' in text and '"secretName": "seals"' in text


def test_results_cache_and_crd_outlive_the_release_and_nothing_else_does(render: Render) -> None:
    kept = [
        item["metadata"]["name"]
        for item in render()
        if item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    ]
    assert set(kept) == {"lmms-eval-s3", "lmms-eval-cache", "lmmevaluations.lmms-eval.io"}


def test_the_store_is_replaced_and_never_doubled(render: Render) -> None:
    spec = one(render(), "Deployment", "lmms-eval-s3")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_a_second_operator_stands_by_elsewhere_and_an_update_never_leaves_none(render: Render) -> None:
    spec = one(render(), "Deployment", "lmms-eval-operator")["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (2, {"maxSurge": 1, "maxUnavailable": 0})
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"] == spec["selector"]
    assert one(render({"operator": {"replicas": 1}}), "Deployment", "lmms-eval-operator")["spec"]["replicas"] == 1


def test_routes_lead_to_the_front_end(render: Render) -> None:
    objects = render(EVERYTHING)
    ingress = one(objects, "Ingress", "lmms-eval-api")["spec"]
    assert ingress["rules"][0]["host"] == "lmms-eval.example.com"
    assert ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "lmms-eval-api"
    assert ingress["tls"] == [{"hosts": ["lmms-eval.example.com"], "secretName": "tls"}]
    route = one(objects, "HTTPRoute", "lmms-eval-api")["spec"]
    assert route["rules"][0]["backendRefs"] == [{"name": "lmms-eval-api", "port": 80}]


def test_the_service_finds_the_pods(render: Render) -> None:
    objects = render()
    for component in ("api", "s3"):
        selector = one(objects, "Service", f"lmms-eval-{component}")["spec"]["selector"]
        labels = one(objects, "Deployment", f"lmms-eval-{component}")["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        assert selector["app.kubernetes.io/component"] == component


def test_generated_secrets_are_long_and_differ(render: Render) -> None:
    first, second = ([item["data"] for item in render() if item["kind"] == "Secret"] for _ in range(2))
    assert [sorted(data) for data in first] == [["token"], ["key"], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]]
    assert first != second


REFUSED = [
    ({"operator": {"replica": 2}}, "additional properties 'replica' not allowed"),
    ({"api": {"replicas": "two"}}, "at '/api/replicas': got string, want integer"),
    ({"api": {"auth": "oidc"}}, "at '/api/auth': value must be one of 'token', 'kubernetes', 'proxy', 'none'"),
    ({"api": {"service": {"port": 70000}}}, "at '/api/service/port': maximum"),
    ({"images": {"api": {"digest": "abc"}}}, "at '/images/api/digest': 'abc' does not match pattern"),
    ({"imagePullPolicy": "Sometimes"}, "at '/imagePullPolicy': value must be one of"),
    ({"policies": {"secrets": ["a'b"]}}, "at '/policies/secrets/0': "),
    ({"policies": {"images": ["*/x"]}}, "at '/policies/images/0': "),
    ({"evaluator": {"resources": {"cpu": "lots"}}}, "at '/evaluator/resources/cpu': 'lots' does not match pattern"),
    ({"evaluator": {"includePath": "/cache/tasks"}}, "at '/evaluator/includePath': "),
    ({"evaluator": {"volumes": [{"claimName": "a", "mountPath": "/tmp/a"}]}}, "at '/evaluator/volumes/0/mountPath': "),
    ({"podSecurityContext": {"runAsRoot": True}}, "additional properties 'runAsRoot' not allowed"),
    ({"cache": {"size": "big"}}, "at '/cache/size': "),
    ({"store": {"url": "http://bucket"}}, "at '/store/url': "),
    ({"store": {"embedded": {"enabled": False}}}, "store.url is needed where store.embedded.enabled is false"),
    ({"api": {"ingress": {"enabled": True}}}, "api.ingress.host is needed where api.ingress.enabled is true"),
    (
        {"api": {"httpRoute": {"enabled": True}}},
        "api.httpRoute.parentRefs is needed where api.httpRoute.enabled is true",
    ),
    ({"retention": {"maxFinished": -1}}, "at '/retention/maxFinished': minimum"),
    ({"retention": {"graceSeconds": 0}}, "at '/retention/graceSeconds': minimum"),
    ({"retention": {"mediaBytes": -1}}, "at '/retention/mediaBytes': minimum"),
    ({"evaluators": {}}, "additional properties 'evaluators' not allowed"),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED, ids=[json.dumps(values)[:60] for values, _ in REFUSED])
def test_values_that_mean_nothing_are_refused(render: Render, values: Object, sentence: str) -> None:
    with pytest.raises(CommandFailed, match=re.escape(sentence)):
        render(values)


def test_the_schema_and_the_values_name_the_same_things() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(names_of(schema, values, schema["$defs"])) == {"/global"}


def test_the_schema_refuses_the_folders_that_core_refuses() -> None:
    evaluator = json.loads((CHART / "values.schema.json").read_text())["properties"]["evaluator"]["properties"]
    mount = evaluator["volumes"]["items"]["properties"]["mountPath"]
    assert evaluator["includePath"]["not"]["pattern"] == f"{WRITTEN_BY_RUNS}|{DOT_SEGMENT}"
    assert mount["not"]["pattern"] == f"{RESERVED_MOUNTS}|{DOT_SEGMENT}"


def names_of(node: Object, value: Any, definitions: Object, path: str = "") -> Iterator[str]:
    """Paths that the schema knows and the values do not; the schema itself refuses the other way round."""
    node = {**definitions[node["$ref"].rsplit("/", 1)[1]], **node} if "$ref" in node else node
    for name, child in node.get("properties", {}).items():
        if name in value:
            yield from names_of(child, value[name] or {}, definitions, f"{path}/{name}")
        elif not path.endswith(("/resources", "/evaluator/requests", "/evaluator/limits")):
            yield f"{path}/{name}"


def test_lint_is_clean(helm: Callable[..., str], tmp_path: Path) -> None:
    for name, values in VARIANTS.items():
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(values))
        assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), "-f", str(file))
