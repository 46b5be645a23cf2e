"""Metrics Service, alerts and dashboard: Prometheus' own checker runs the rules, Grafana's own model reads the
dashboard.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from deployment import CHART, ROOT, CommandFailed
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from offline_application import make_offline_backend
from operator_builders import world
from promtool import run_promtool

from lmms_eval_api.retention.media_pool import PoolSize
from lmms_eval_api.server.limits import OpenStreams
from lmms_eval_api.server.metrics import ApiMetrics
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_operator.main import now_utc
from lmms_eval_operator.metrics import OperatorMetrics

Object = dict[str, Any]
Render = Callable[..., list[Object]]

DASHBOARD: Object = json.loads((CHART / "monitoring" / "dashboard.json").read_text())
ALL: Object = {"metrics": {part: {"enabled": True} for part in ("serviceMonitor", "rules", "dashboard")}}
# What Grafana puts in before it asks Prometheus.
VARIABLES = {"$namespace": "team-a", "$__rate_interval": "5m"}
# Labels that a scrape adds.
TARGET_LABELS = {"namespace", "pod", "le"}


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression: str = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield expression


def samples() -> dict[str, dict[str, set[str]]]:
    """Every series name of operator and front end, its labels and their values."""
    metrics = OperatorMetrics(world(), leading=lambda: True, time=now_utc)
    metrics.record_pass(1, True)
    metrics.record_pass(1, False)
    for result in ("ok", "conflict", "unavailable", "throttled", "forbidden", "invalid"):
        metrics.record_request(EVALUATIONS, "patch", result=result, seconds=1)
    metrics.record_event("written")
    found: dict[str, dict[str, set[str]]] = {}
    pool = PoolSize(budget=2, files=1, bytes=1, is_known=True)
    backend = dataclasses.replace(make_offline_backend(), media_pool=lambda: pool)
    api_metrics = ApiMetrics(backend, OpenStreams())
    for route, status in itertools.product(("/queue", "/readyz", "/merge"), (200, 500)):
        api_metrics.record_response(
            {"method": "GET", "state": {}, "route": SimpleNamespace(path=route)}, status=status, seconds=1
        )
    families = itertools.chain(metrics.registry.collect(), api_metrics.registry.collect())
    for sample in (sample for family in families for sample in family.samples):
        for label, value in sample.labels.items():
            found.setdefault(sample.name, {}).setdefault(label, set()).add(value)
        found.setdefault(sample.name, {})
    return found


SELECTOR = re.compile(r"\b(lmmseval_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def strangers(expression: str) -> list[str]:
    """Metrics, labels and values in an expression that neither of them has."""
    known, wrong = samples(), []
    for metric, matchers in SELECTOR.findall(expression):
        if metric not in known:
            wrong.append(metric)
            continue
        for label, _, value in MATCHER.findall(matchers):
            if label not in TARGET_LABELS | known[metric].keys():
                wrong.append(f"{metric}{{{label}}}")
            elif label not in TARGET_LABELS and not set(value.split("|")) <= known[metric][label]:
                wrong.append(f"{metric}{{{label}={value}}}")
    return wrong


# The dashboard.


def test_grafanas_own_model_knows_every_field_of_the_dashboard() -> None:
    assert list(lost(DASHBOARD, read_by_grafana(DASHBOARD))) == []


def test_a_field_that_grafana_does_not_know_would_be_found() -> None:
    wrong = json.loads(json.dumps(DASHBOARD))
    wrong["panels"][0]["fieldConfig"]["defaults"]["units"] = "s"
    wrong["panels"][0]["targets"][0]["query"] = "up"
    assert list(lost(wrong, read_by_grafana(wrong))) == [
        "/panels/0/targets/0/query",
        "/panels/0/fieldConfig/defaults/units",
    ]


def read_by_grafana(dashboard: Object) -> Object:
    plugins.register_default_plugins()
    read: Object = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    return read


def lost(given: Any, read: Any, path: str = "") -> Iterator[str]:
    """Paths of what is not there any more, or not the same."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            if key not in read:
                yield f"{path}/{key}"
            else:
                yield from lost(value, read[key], f"{path}/{key}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for index, value in enumerate(given):
            yield from lost(value, read[index], f"{path}/{index}")
    elif given != read:
        yield path


def test_panels_say_what_they_show_in_a_unit_and_lie_beside_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_everything_asks_the_chosen_source_for_the_chosen_namespace() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "namespace"]
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == chosen
        for target in panel["targets"]:
            assert target["datasource"] == chosen
            selectors = SELECTOR.findall(target["expr"])
            assert selectors
            assert all('namespace="$namespace"' in matchers for _, matchers in selectors)


def test_legends_name_labels_that_the_expression_keeps() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            kept = {
                label.strip() for labels in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in labels.split(",")
            }
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_the_dashboard_asks_for_what_there_is(expression: str) -> None:
    assert strangers(expression) == []


def test_what_there_is_not_would_be_found() -> None:
    wrong = 'sum(lmmseval_evalutions) + lmmseval_slots{state="busy"} + lmmseval_leader{node="a"}'
    assert strangers(wrong) == ["lmmseval_evalutions", "lmmseval_slots{state=busy}", "lmmseval_leader{node}"]


@pytest.mark.integration
def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"dashboard:expression{number}", "expr": text} for number, text in enumerate(expressions())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run_promtool("check", "rules", str(file))


# The alerts.


@pytest.fixture
def rules(render: Render, tmp_path: Path) -> Path:
    """The alerts as they are installed, as a file for Prometheus."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(one(render(ALL), "PrometheusRule", "lmms-eval-alerts")["spec"]))
    return file


def alerts(rules: Path) -> list[Object]:
    found: list[Object] = yaml.safe_load(rules.read_text())["groups"][0]["rules"]
    return found


@pytest.mark.integration
def test_prometheus_finds_no_fault_with_the_alerts(rules: Path) -> None:
    assert f"{len(alerts(rules))} rules found" in run_promtool(
        "check", "rules", "--lint=all", "--lint-fatal", str(rules)
    )


@pytest.mark.integration
def test_alerts_fire_when_they_should_and_only_then(rules: Path) -> None:
    tests = rules.with_name("alerts.test.yaml")
    tests.write_text((ROOT / "tests" / "chart" / "alerts.test.yaml").read_text())
    assert "SUCCESS" in run_promtool("test", "rules", str(tests))


@pytest.mark.integration
def test_a_wrong_alert_would_be_found(rules: Path) -> None:
    tests = rules.with_name("alerts.test.yaml")
    tests.write_text((ROOT / "tests" / "chart" / "alerts.test.yaml").read_text())
    rules.write_text(rules.read_text().replace("== 0", "== 1"))
    with pytest.raises(CommandFailed, match="LmmsEvalNoLeader"):
        run_promtool("test", "rules", str(tests))


@pytest.mark.integration
def test_every_alert_is_tested_and_explained(rules: Path) -> None:
    tested = yaml.safe_load((ROOT / "tests" / "chart" / "alerts.test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {alert["alert"] for alert in alerts(rules)}
    page = (ROOT / "docs" / "operations.md").read_text()
    for alert in alerts(rules):
        assert {"summary", "description", "runbook_url"} == alert["annotations"].keys()
        assert alert["labels"]["severity"] in ("warning", "critical")
        anchor = alert["annotations"]["runbook_url"].removeprefix("docs/operations.md#")
        assert anchor == alert["alert"].lower()
        assert f"\n#### {alert['alert']}\n" in page


@pytest.mark.integration
def test_the_alerts_ask_for_what_there_is(rules: Path) -> None:
    for alert in alerts(rules):
        assert strangers(alert["expr"]) == []
        assert 'namespace="team-a"' in alert["expr"]


# What is installed.


@pytest.mark.integration
def test_nothing_but_a_service_is_installed_unless_it_is_asked_for(render: Render) -> None:
    kinds = {item["kind"] for item in render()}
    assert not kinds & {"ServiceMonitor", "PrometheusRule"}
    assert not [item for item in render() if item["metadata"]["name"] == "lmms-eval-dashboard"]


@pytest.mark.integration
@pytest.mark.parametrize(("component", "service_name"), [("operator", "operator"), ("api", "api-metrics")])
def test_the_service_finds_the_port_and_the_monitor_the_service(
    render: Render, component: str, service_name: str
) -> None:
    objects = render(ALL)
    service = one(objects, "Service", f"lmms-eval-{service_name}")
    template = one(objects, "Deployment", f"lmms-eval-{component}")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    monitor = one(objects, "ServiceMonitor", f"lmms-eval-{component}")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["namespaceSelector"] == {"matchNames": ["team-a"]}
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]
    others = [item for item in objects if item["kind"] == "Service" and item is not service]
    assert not [
        item for item in others if monitor["selector"]["matchLabels"].items() <= item["metadata"]["labels"].items()
    ]


@pytest.mark.integration
def test_metrics_are_no_port_of_what_the_world_may_reach(render: Render) -> None:
    assert [port["name"] for port in one(render(ALL), "Service", "lmms-eval-api")["spec"]["ports"]] == ["http"]


@pytest.mark.integration
def test_grafanas_sidecar_gets_the_dashboard_as_it_is(render: Render) -> None:
    found = one(render(ALL), "ConfigMap", "lmms-eval-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert [json.loads(text) for text in found["data"].values()] == [DASHBOARD]


@pytest.mark.integration
def test_labels_annotations_and_runbooks_can_be_given(render: Render) -> None:
    objects = render(
        {
            "metrics": {
                "service": {"annotations": {"prometheus.io/scrape": "true"}},
                "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "interval": "1m"},
                "rules": {
                    "enabled": True,
                    "labels": {"release": "prometheus"},
                    "runbooks": "https://wiki.example.com/ops",
                },
                "dashboard": {
                    "enabled": True,
                    "labels": {"dashboards": "yes"},
                    "annotations": {"grafana_folder": "GPUs"},
                },
            }
        }
    )
    assert one(objects, "Service", "lmms-eval-operator")["metadata"]["annotations"] == {"prometheus.io/scrape": "true"}
    monitor, rule = (
        one(objects, "ServiceMonitor", "lmms-eval-operator"),
        one(objects, "PrometheusRule", "lmms-eval-alerts"),
    )
    assert monitor["metadata"]["labels"]["release"] == rule["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"][0]["interval"] == "1m"
    links = {alert["annotations"]["runbook_url"].partition("#")[0] for alert in rule["spec"]["groups"][0]["rules"]}
    assert links == {"https://wiki.example.com/ops"}
    dashboard = one(objects, "ConfigMap", "lmms-eval-dashboard")["metadata"]
    assert (dashboard["labels"]["dashboards"], dashboard["annotations"]) == ("yes", {"grafana_folder": "GPUs"})
