"""The Job that lists what the evaluator image knows: who runs in it, when it is made anew, and that
nobody else does.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import CHART

from lmms_eval_api.settings import ApiSettings
from lmms_eval_core.layout import STORED_CATALOGUE, catalogue_file
from lmms_eval_core.run import RUN_DIRECTORY
from lmms_eval_reporter.catalogue import CatalogueUpload

pytestmark = pytest.mark.integration

Object = dict[str, Any]
Render = Callable[..., list[Object]]
IMAGE: Object = {"images": {"evaluator": {"tag": "v2"}}}


def job(objects: list[Object]) -> Object:
    (found,) = [item for item in objects if item["kind"] == "Job" and "-catalogue-" in item["metadata"]["name"]]
    return found


def pod(objects: list[Object]) -> Object:
    spec: Object = job(objects)["spec"]["template"]["spec"]
    return spec


def variables(container: Object) -> dict[str, str]:
    return {item["name"]: item.get("value", "team-a") for item in container["env"]}


def front_end(objects: list[Object]) -> ApiSettings:
    (found,) = [item for item in objects if item["kind"] == "Deployment" and item["metadata"]["name"].endswith("-api")]
    return ApiSettings.from_environment(variables(found["spec"]["template"]["spec"]["containers"][0]))


def test_the_image_speaks_and_the_reporter_carries(render: Render) -> None:
    objects = render()
    (evaluator,), (reporter,) = pod(objects)["initContainers"], pod(objects)["containers"]
    assert evaluator["image"] == "lmms-eval/evaluator:0.1.0"
    assert evaluator["command"] == ["python", "-m", "lmms_eval_runner.catalogue"]
    assert reporter["image"] == "lmms-eval/reporter:0.1.0"
    assert reporter["command"] == ["python", "-m", "lmms_eval_reporter.catalogue"]
    (shared,) = {mount["mountPath"] for mount in evaluator["volumeMounts"] if mount["name"] == "run"}
    assert shared == variables(evaluator)["LMMS_EVAL_RUN_DIRECTORY"] == variables(reporter)["LMMS_EVAL_RUN_DIRECTORY"]
    assert shared == str(RUN_DIRECTORY)


def test_what_runs_lmms_eval_has_no_token_no_credentials_and_no_gpu(render: Render) -> None:
    spec = pod(render())
    assert spec["automountServiceAccountToken"] is False and "serviceAccountName" not in spec
    (evaluator,), (reporter,) = spec["initContainers"], spec["containers"]
    assert "envFrom" not in evaluator and reporter["envFrom"] == [{"secretRef": {"name": "lmms-eval-store"}}]
    assert not any("STORE" in name or "AWS" in name for name in variables(evaluator))
    assert {volume["name"]: set(volume) - {"name"} for volume in spec["volumes"]} == {
        "run": {"emptyDir"},
        "tmp": {"emptyDir"},
    }
    assert set(evaluator["resources"]["requests"]) == {"cpu", "memory"}


def test_reporter_and_front_end_mean_the_same_file(render: Render) -> None:
    objects = render()
    (reporter,) = pod(objects)["containers"]
    errand, settings = CatalogueUpload.from_environment(variables(reporter)), front_end(objects)
    file = catalogue_file(settings.catalogue)
    assert STORED_CATALOGUE.fullmatch(file) and errand.key == f"team-a/{file}"
    assert (errand.store.url, errand.store.endpoint) == ("s3://lmms-eval", "http://lmms-eval-s3.team-a.svc:7070")


def test_another_image_is_another_job_and_another_file(render: Render) -> None:
    before, after = render(), render(IMAGE)
    assert job(before)["metadata"]["name"] != job(after)["metadata"]["name"]
    assert front_end(before).catalogue != front_end(after).catalogue
    # One file of each image, however it is found out.
    assert front_end(before) == front_end(render({"catalogue": {"tolerations": [{"operator": "Exists"}]}}))


@pytest.mark.parametrize(
    "values",
    [
        IMAGE,
        {"images": {"reporter": {"tag": "v2"}}},
        {"catalogue": {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "2Gi"}}}},
        {"imagePullPolicy": "Always"},
        {"store": {"region": "eu-central-1"}},
    ],
)
def test_whatever_changes_in_the_job_changes_its_name(render: Render, values: Object) -> None:
    before, after = job(render()), job(render(values))
    assert before["spec"] != after["spec"] and before["metadata"]["name"] != after["metadata"]["name"]


def test_a_new_version_of_the_chart_meets_nothing_that_cannot_be_changed(
    helm: Callable[..., str], render: Render, tmp_path: Path
) -> None:
    copy = shutil.copytree(CHART, tmp_path / "chart")
    description = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(description | {"version": "99.0.0"}))
    images = {"images": {"tag": description["appVersion"]}}
    text = helm("template", "lmms-eval", str(copy), "--namespace", "team-a")
    before, after = job(render(images)), job([item for item in yaml.safe_load_all(text) if item])
    assert before["spec"] == after["spec"] or before["metadata"]["name"] != after["metadata"]["name"]


def test_it_is_placed_as_evaluations_are_unless_told_otherwise(render: Render) -> None:
    evaluator: Object = {"nodeSelector": {"gpu": "yes"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    assert "nodeSelector" not in pod(render())
    assert {name: pod(render({"evaluator": evaluator}))[name] for name in evaluator} == evaluator
    own: Object = {"nodeSelector": {"disk": "big"}, "tolerations": [{"operator": "Exists"}]}
    assert {name: pod(render({"evaluator": evaluator, "catalogue": own}))[name] for name in own} == own


def test_no_hook_no_time_to_live_and_a_name_that_kubernetes_takes(render: Render) -> None:
    found = job(render({"fullnameOverride": "x" * 40}))
    assert "annotations" not in found["metadata"] and "ttlSecondsAfterFinished" not in found["spec"]
    assert len(found["metadata"]["name"]) <= 63


def test_where_none_is_wanted_nobody_makes_or_looks_for_one(render: Render) -> None:
    objects = render({"catalogue": {"enabled": False}})
    assert not [item for item in objects if "-catalogue-" in item["metadata"]["name"]]
    assert front_end(objects).catalogue == ""


def test_an_external_store_with_rights_of_its_own_needs_no_secret(render: Render) -> None:
    objects = render({"store": {"embedded": {"enabled": False}, "url": "s3://bucket/prefix"}})
    (reporter,) = pod(objects)["containers"]
    assert "envFrom" not in reporter
    assert CatalogueUpload.from_environment(variables(reporter)).store.url == "s3://bucket/prefix"
