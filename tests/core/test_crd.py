"""What the CRD gives everybody: a true status from the first moment, a selectable phase, columns for a person."""

import json
from typing import Any

import pytest
from crd_samples import plant_value
from deployment import Kubectl
from pydantic import Field

from lmms_eval_core import crd
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.results_file import MAX_SUMMARY
from lmms_eval_core.schema import Owner, ResourceModel
from lmms_eval_core.status import EvaluationStatus

TERMINAL_COLUMNS = 120
BUSY: Object = {
    "phase": "Running",
    "reason": "LoadingModel",
    "attempt": 2,
    "attempts": [{"number": 1, "jobName": "a"}, {"number": 2, "jobName": "b", "node": "gpu-node-7"}],
    "progress": {"stage": "Evaluating", "text": "1234/12345 10%", "updatedAt": "2026-01-02T03:04:05Z"},
}
DONE: Object = {
    "phase": "Completed",
    "reason": "Succeeded",
    "summary": "x" * MAX_SUMMARY,
    "gate": {"verdict": "Failed", "reason": "Worse"},
}


async def store(server: Transport, name: str, status: Object, **spec: Any) -> None:
    body = plant_value(("spec", "model"), "qwen2_5_vl")
    await server.create(EVALUATIONS, {**body, "metadata": {"name": name}, "spec": {**body["spec"], **spec}})
    if status:
        await server.json_patch(
            EVALUATIONS, name, [{"op": "add", "path": "/status", "value": status}], subresource="status"
        )


@pytest.mark.integration
class TestOnTheServer:
    async def test_it_is_queued_from_the_first_moment_and_selectable(self, client: Transport) -> None:
        await store(client, "new", {})
        await store(client, "busy", BUSY)
        assert (await client.get(EVALUATIONS, "new"))["status"] == {"phase": "Queued", "reason": "WaitingForTurn"}
        for phase, name in (("Queued", "new"), ("Running", "busy")):
            page = await client.list(EVALUATIONS, field_selector=f"status.phase={phase}")
            assert [item["metadata"]["name"] for item in page.items] == [name]

    async def test_a_status_in_a_create_is_nobodys_word(self, client: Transport) -> None:
        body = plant_value(("status", "phase"), "Completed")
        assert (await client.create(EVALUATIONS, body))["status"]["phase"] == "Queued"

    async def test_writing_the_object_leaves_the_status(self, client: Transport) -> None:
        await store(client, "busy", BUSY)
        found = await client.get(EVALUATIONS, "busy")
        changed = await client.replace(EVALUATIONS, {**found, "status": {"phase": "Completed", "reason": "Succeeded"}})
        assert changed["status"]["phase"] == "Running"

    async def test_a_misspelt_field_is_refused(self, client: Transport) -> None:
        body = plant_value(("spec", "model"), "a")
        with pytest.raises(errors.Invalid, match='unknown field "spec.task"'):
            await client.create(EVALUATIONS, {**body, "spec": {**body["spec"], "task": "mme"}})

    async def test_a_score_may_be_no_number(self, client: Transport) -> None:
        await store(client, "scored", {**BUSY, "scores": {"mme": {"acc,none": {"value": None, "stderr": 0.5}}}})
        found = await client.get(EVALUATIONS, "scored")
        assert found["status"]["scores"] == {"mme": {"acc,none": {"value": None, "stderr": 0.5}}}

    async def test_columns_are_readable_on_a_terminal(self, client: Transport, kubectl: Kubectl) -> None:
        await store(client, "qwen2-5-vl-7b-step-12000", BUSY)
        await store(client, "qwen2-5-vl-7b-step-6000", {"phase": "Running", "reason": "Publishing"})
        await client.json_patch(
            EVALUATIONS,
            "qwen2-5-vl-7b-step-6000",
            [{"op": "add", "path": "/status", "value": DONE}],
            subresource="status",
        )
        head, busy, done = kubectl("-n", client.namespace, "get", "lmme").splitlines()
        assert head.split() == ["NAME", "PHASE", "REASON", "MODEL", "PROGRESS", "SCORE", "GATE", "AGE"]
        assert BUSY["progress"]["text"] in busy and DONE["summary"] in done
        assert max(map(len, (head, busy, done))) <= TERMINAL_COLUMNS

    async def test_wide_columns_name_tasks_gpus_node_and_attempt(self, client: Transport, kubectl: Kubectl) -> None:
        await store(client, "a", BUSY, tasks=["mme", "mmmu_val"], gpus=4)
        head, row = kubectl("-n", client.namespace, "get", "lmme", "-o", "wide").splitlines()
        assert head.split()[-4:] == ["TASKS", "GPUS", "NODE", "ATTEMPT"]
        assert row.endswith(json.dumps(["mme", "mmmu_val"]).replace(", ", ",") + "   4      gpu-node-7   2")


def test_a_pattern_needs_a_sentence() -> None:
    class Bare(ResourceModel):
        name: str = Field(pattern="^a$")

    with pytest.raises(crd.NotStructural, match="a pattern needs a sentence"):
        crd.build_structural_schema(Bare)


def test_a_union_needs_a_schema_of_its_own() -> None:
    class Union(ResourceModel):
        value: str | int

    with pytest.raises(crd.NotStructural, match="a union needs WithJsonSchema"):
        crd.build_structural_schema(Union)


def test_every_status_field_has_an_owner() -> None:
    owners = crd.list_status_owners()
    fields = set(EvaluationStatus.model_json_schema(by_alias=True)["properties"])
    assert set(owners[Owner.OPERATOR]) | set(owners[Owner.REPORTER]) == fields
    assert set(owners[Owner.OPERATOR]) & set(owners[Owner.REPORTER]) == {"error", "gate"}


def test_an_optional_field_is_absent_and_never_null() -> None:
    class Optional(ResourceModel):
        count: int | None = None

    assert crd.build_structural_schema(Optional)["properties"]["count"] == {"type": "integer"}


def test_the_schema_annotation_follows_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    def annotation() -> str:
        found: str = crd.build_crd()["metadata"]["annotations"]["lmms-eval.io/schema"]
        return found

    before = annotation()
    assert annotation() == before
    monkeypatch.setattr(crd, "COLUMNS", crd.COLUMNS[:-1])
    assert annotation() != before
