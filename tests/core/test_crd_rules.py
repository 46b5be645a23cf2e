"""Every CEL rule of the CRD on a real API server: what it refuses, with which sentence, and what it lets through."""

from typing import Any, NamedTuple

import pytest
from crd_samples import build_schema, list_rules, plant_value

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.paths import PRIVATE_CACHES
from lmms_eval_core.phases import FOLLOWS, Phase
from lmms_eval_core.run import ResumePolicy
from lmms_eval_core.spec import MUTABLE, NOT_COMPARED_IN_SCHEMA

integration = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


class Rule(NamedTuple):
    """One rule on one field: values that it refuses, with `sentence`, and values that it must not refuse."""

    where: str
    sentence: str
    bad: list[Any]
    good: list[Any]

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


OBJECT_NAME = "give the name of a Kubernetes object: lower-case letters, digits, dashes and dots"
BAD_NAMES, GOOD_NAMES = ["A", "a_b", "-a", "a-", "a..b", "a b", "a\nb"], ["a", "a-b.c", "0"]
ABSOLUTE = "give an absolute path without ':' and without '/' at its end"
BAD_PATHS, GOOD_PATHS = ["data", "/data/", "//data", "/a//b", "/a:b", "/a\nb", "//"], ["/data", "/mnt/a b/ö"]
DOTTED, NOT_DOTTED = ["/..", "/a/../etc", "/a/..", "/./a"], ["/a..b", "/.hidden", "/a/..."]
WRITTEN_BY_RUNS = ["/cache", "/dev", "/proc", "/run", "/sys", "/tmp", "/var/run"]
QUANTITY = "give a quantity, for example 4, 500m or 16Gi"
BAD_QUANTITIES, GOOD_QUANTITIES = ["-1", -1, "1.", "4 Gi", "4GB", "lots", ""], [0, 4, "4", "0.5", "500m", "16Gi", "2T"]
LABEL_KEY, BAD_KEYS, GOOD_KEYS = (
    "give a label key, for example nvidia.com/gpu",
    ["-a", "a b", "A/b"],
    ["a", "nvidia.com/gpu"],
)
LABEL_VALUE = "give a label value: letters, digits, dashes, dots and underscores"
BAD_LABELS, GOOD_LABELS = ["-a", "a b", "a/b"], ["", "a", "NVIDIA-A100-SXM4-80GB"]
RESERVED = "mountPath is inside a directory of the evaluator itself; use a path of your own, as /data or /mnt/NAME"
LOGINS = ["https://user:secret@host/", "http://:secret@host", "https://token@host/v1", "x https://user:se@cret@host"]
NO_LOGINS = [
    "https://host/v1?mail=a@b",
    "https://host/@a",
    "hf://datasets/a/b@main",
    "http://host#a@b",
    "a@b",
    "a://b c@d",
]
STEERS = "this variable steers the harness, the loader or the launcher and is set by the pod; leave it out"


def mounted(*paths: str) -> list[Object]:
    return [{"claimName": "a", "mountPath": path} for path in paths]


def variables(*variable_names: str) -> list[Object]:
    return [{"name": name, "value": "x"} for name in variable_names]


REFERENCE = {"name": "HF_TOKEN", "secretKeyRef": {"name": "a", "key": "a"}}

ON_CREATION = [
    Rule(
        "spec.model",
        "give the id of a model adapter, as qwen2_5_vl or vllm; a checkpoint belongs in modelArgs.pretrained",
        ["Qwen/Qwen2.5-VL-7B", "a b", "-a", "--a", "a\n"],
        ["qwen2_5_vl", "a.b-c", "7"],
    ),
    Rule(
        "spec.tasks.[]",
        "give one task, group or tag of lmms-eval an entry, without spaces or commas",
        ["mme,mmmu", "a b", "-a", "--tasks", "/etc/passwd", "a;b", "a\n"],
        ["mme", "mmmu_*", "a:b", "a/b.yaml"],
    ),
    Rule(
        "spec.batchSize",
        "give a number of at least 1, auto, or auto:N",
        [0, -1, "0", "auto:", "all", ""],
        [1, "8", "auto", "auto:4"],
    ),
    Rule(
        "spec.seed",
        "give a seed, or up to four separated by commas, each a number or None",
        [-1, "-1", "1,", "1,2,3,4,5", "1 2", "x", "", "none", "0,Non,8"],
        [0, "42", "0,1234,1234,1234", "0,None,8,52", "None"],
    ),
    Rule(
        "spec.genKwargs",
        "a secret does not belong in genKwargs, which everybody could read; use env with secretKeyRef",
        ["api_key=x", "a=1,API_KEY=x", "a=1, token = x", "openai_api_key=x", "password=", "my_secret=x"],
        [
            "temperature=0,top_p=0.9",
            "until=password:",
            "max_new_tokens=16,image_token=x",
            "stop=api_key",
            "",
            "secretary=x",
        ],
    ),
    Rule(
        "spec.genKwargs",
        "an address with a login does not belong in genKwargs, which everybody could read; use env with secretKeyRef",
        [f"base_url={address}" for address in LOGINS],
        [f"base_url={address}" for address in NO_LOGINS],
    ),
    Rule("spec.includePath", ABSOLUTE, BAD_PATHS, GOOD_PATHS),
    Rule("spec.includePath", "includePath must not contain '.' or '..' as a part", DOTTED, NOT_DOTTED),
    Rule(
        "spec.includePath",
        "includePath is inside a directory that evaluations write to, or processes can be reached by;"
        " put the tasks into a volume of spec.volumes, or into the image",
        [*WRITTEN_BY_RUNS, "/cache/x", "/run/lmms-eval/output", "/proc/1/root/cache", "/dev/shm"],
        ["/data", "/opt/lmms-eval/smoke/tasks", "/caches", "/mnt/cache", "/var/lib/tmp"],
    ),
    *(
        Rule(f"spec.resources.{name}", QUANTITY, BAD_QUANTITIES, GOOD_QUANTITIES)
        for name in ("cpu", "memory", "sharedMemory", "ephemeralStorage")
    ),
    Rule(
        "spec.volumes.[]",
        "mountPath must not contain '.' or '..' as a part",
        mounted(*DOTTED),
        mounted(*NOT_DOTTED),
    ),
    Rule(
        "spec.volumes.[]",
        RESERVED,
        mounted(*WRITTEN_BY_RUNS, "/usr/lib", "/run/lmms-eval", "/var/run/lmms-eval", "/opt/x", "/dev/shm", "/etc/ssl"),
        mounted("/data", "/mnt/a", "/tmpfs", "/var/lib/data", "/home"),
    ),
    Rule("spec.volumes.[].claimName", OBJECT_NAME, BAD_NAMES, GOOD_NAMES),
    Rule("spec.volumes.[].mountPath", ABSOLUTE, BAD_PATHS, GOOD_PATHS),
    Rule(
        "spec.nodeSelector",
        "give label keys, for example nvidia.com/gpu.product",
        [{key: "a"} for key in [*BAD_KEYS, "a" * 317]],
        [{key: "a"} for key in GOOD_KEYS],
    ),
    Rule("spec.nodeSelector.{}", LABEL_VALUE, BAD_LABELS, GOOD_LABELS),
    Rule(
        "spec.tolerations.[]",
        "a toleration without key needs operator: Exists",
        [{}, {"operator": "Equal"}, {"effect": "NoSchedule"}],
        [{"operator": "Exists"}, {"key": "a"}],
    ),
    Rule(
        "spec.tolerations.[]",
        "a toleration with operator: Exists takes no value",
        [{"key": "a", "operator": "Exists", "value": "a"}],
        [{"key": "a", "operator": "Equal", "value": "a"}, {"key": "a", "value": "a"}],
    ),
    Rule(
        "spec.tolerations.[]",
        "tolerationSeconds is for effect: NoExecute alone",
        [{"key": "a", "tolerationSeconds": 1}, {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}],
        [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 1}],
    ),
    Rule("spec.tolerations.[].key", LABEL_KEY, BAD_KEYS, GOOD_KEYS),
    Rule("spec.tolerations.[].value", LABEL_VALUE, BAD_LABELS, GOOD_LABELS),
    Rule("spec.priorityClassName", OBJECT_NAME, BAD_NAMES, GOOD_NAMES),
    Rule("spec.runtimeClassName", OBJECT_NAME, BAD_NAMES, GOOD_NAMES),
    Rule(
        "spec.env.[]",
        "give either value or secretKeyRef",
        [{"name": "A"}, {**REFERENCE, "value": "x"}],
        [REFERENCE, {"name": "A", "value": ""}],
    ),
    Rule(
        "spec.env.[]",
        "a secret is given by reference: use secretKeyRef instead of value",
        [
            *variables("OPENAI_API_KEY", "HF_TOKEN", "my_secret", "DB_PASSWORD", "AWS_CREDENTIALS"),
            *({"name": "HF_TOKEN", "value": value} for value in ("10", "truer", "1\n1")),
        ],
        [
            REFERENCE,
            *variables("TOKENIZERS_PARALLELISM", "KEYS_PER_PAGE"),
            *({"name": "HF_HUB_DISABLE_IMPLICIT_TOKEN", "value": value} for value in ("1", "0", "True", "no", "")),
        ],
    ),
    Rule(
        "spec.env.[]",
        "an address with a login is a secret, which is given by reference: use secretKeyRef instead of value",
        [{"name": "OPENAI_API_BASE", "value": address} for address in LOGINS],
        [{"name": "OPENAI_API_BASE", "value": address} for address in NO_LOGINS],
    ),
    Rule(
        "spec.env.[]",
        STEERS,
        variables(
            *(
                "LD_PRELOAD",
                "PYTHONPATH",
                "LMMS_EVAL_RUN",
                "LMMS_EVAL_PLUGINS",
                "PATH",
                "WORLD_SIZE",
                "HF_HOME",
                "HOME",
            ),
            *PRIVATE_CACHES,
        ),
        variables(
            "OPENAI_API_BASE", "HF_HUB_OFFLINE", "HTTPS_PROXY", "SMOKE_SLEEP_SECONDS", "LMMS_EVAL_USE_CACHE", "MY_PATH"
        ),
    ),
    Rule(
        "spec.env.[].name",
        "give letters, digits and underscores, the first no digit",
        ["1A", "A-B", "A=B", "A B", "A\n"],
        ["A", "_a1"],
    ),
    Rule("spec.env.[].secretKeyRef.name", OBJECT_NAME, BAD_NAMES, GOOD_NAMES),
    Rule(
        "spec.env.[].secretKeyRef.key",
        "give a key of the Secret: letters, digits, dashes, dots and underscores",
        ["a b", "a/b", "a\n"],
        ["api-key", "hub.token_1"],
    ),
    Rule(
        "spec.image",
        "give a container image, for example registry.example.com/team/evaluator:v1",
        ["a b", "-a", "a;b", "a\n"],
        ["a", "registry:5000/team/evaluator@sha256:" + "0" * 64],
    ),
    Rule(
        "spec.gate",
        "a rule with maxDrop or maxDropPercent needs a baseline",
        [{"rules": [{"maxDrop": 1}]}, {"rules": [{"floor": 1}, {"maxDropPercent": 1}]}],
        [{"rules": [{"floor": 1}]}, {"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": 1}] * 32}],
    ),
    Rule(
        "spec.gate",
        "give at least one rule with tier Critical; advisory ones decide nothing",
        [{"rules": [{"floor": 1, "tier": "Advisory"}]}],
        [{"rules": [{"floor": 1, "tier": "Advisory"}, {"floor": 1}]}],
    ),
    Rule("spec.gate.baseline.evaluation", OBJECT_NAME, BAD_NAMES, GOOD_NAMES),
    Rule(
        "spec.gate.rules.[]",
        "give maxDrop, maxDropPercent or floor",
        [{}, {"task": "mme", "metric": "score"}],
        [{"floor": 0.5}, {"maxDrop": 0.5, "floor": 0.5}, {"maxDropPercent": 3}],
    ),
    Rule(
        "spec.gate.rules.[]",
        "give either maxDrop or maxDropPercent",
        [{"maxDrop": 1, "maxDropPercent": 1}],
        [{"maxDrop": 1}],
    ),
    Rule(
        "spec.gate.rules.[]",
        "a drop is a loss, given as a number that is not below 0",
        [{"maxDrop": -1}, {"maxDropPercent": -0.5, "evidence": "PointEstimate"}],
        [{"maxDrop": 0.001}, {"maxDrop": 20}],
    ),
    Rule(
        "spec.gate.rules.[]",
        "no number of documents shows that nothing at all is lost; give a loss above 0 that you accept, or "
        "evidence: SignificantlyWorse",
        [{"maxDrop": 0}, {"maxDropPercent": 0.0}, {"maxDrop": 0, "evidence": "NotWorse"}],
        [{"maxDrop": 0, "evidence": evidence} for evidence in ("SignificantlyWorse", "PointEstimate")],
    ),
    Rule(
        "spec.gate.rules.[]",
        "evidence is about a loss; give maxDrop or maxDropPercent with it",
        [{"floor": 1, "evidence": "PointEstimate"}, {"floor": 1, "evidence": "SignificantlyWorse"}],
        [{"floor": 1, "evidence": "NotWorse"}, {"maxDrop": 1, "evidence": "PointEstimate"}],
    ),
    Rule(
        "spec.gate.rules.[].task",
        "give a task, or a pattern with * and ?, for example mmbench*",
        ["a b", "-a", "a,b", "[a]", "a\n"],
        ["*", "mme", "mmbench*", "a:b", "a?c"],
    ),
    Rule(
        "spec.gate.rules.[].metric",
        "give a metric, or metric,filter; both may have * and ?",
        ["a b", "-a", "a,b,c", "a,", ",b", "a\n"],
        ["acc", "acc,none", "exact_match,*", "pass@1", "*"],
    ),
]
GATE = {"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": 1}]}
GATE_SAMPLES = ("spec.gate", "a gate compares scored samples; leave logSamples true and predictOnly false")
GATE_ITSELF = (".spec.gate.baseline.evaluation", "an evaluation cannot be its own baseline; name another one")
NAME = Rule(
    "",
    "metadata.name must be a DNS label: at most 63 lower-case letters, digits and dashes",
    ["a.b", "a" * 64],
    ["a", "a" * 63, "0-9"],
)

# Each field that cannot change: a value at creation, and another one.
BEFORE_AND_AFTER: dict[str, tuple[Any, Any]] = {
    "model": ("llava_hf", "vllm"),
    "tasks": (["mme"], ["mme", "mmmu"]),
    "numFewshot": (0, 1),
    "batchSize": (1, "1"),
    "limit": (8, 8.5),
    "offset": (0, 1),
    "genKwargs": ("a=1", "a=2"),
    "seed": (1, 2),
    "repeats": (1, 2),
    "systemInstruction": ("a", "b"),
    "applyChatTemplate": (True, False),
    "fewshotAsMultiturn": (True, False),
    "reasoningTags": ("a", "b"),
    "maxTokens": (1, 2),
    "forceSimple": (True, False),
    "processWithMedia": (True, False),
    "logSamples": (False, True),
    "predictOnly": (True, False),
    "includePath": ("/a", "/b"),
    "gpus": (1, 2),
    "processes": (1, 2),
    "resources": ({"cpu": 1}, {"cpu": 1, "memory": "1Gi"}),
    "volumes": (mounted("/a"), mounted("/a", "/b")),
    "nodeSelector": ({"a": "b"}, {"a": "c"}),
    "tolerations": ([{"key": "a"}], [{"key": "b"}]),
    "priorityClassName": ("a", "b"),
    "runtimeClassName": ("a", "b"),
    "env": (variables("A"), variables("A", "B")),
    "image": ("a", "b"),
    "retries": (1, 2),
    "resume": ("never", "acrossHardware"),
    "media": ("none", "thumbs"),
    "timeoutSeconds": (1, 2),
    "stallTimeoutSeconds": (1, 2),
    "trustRemoteCode": (True, False),
    "gate": ({"rules": [{"floor": 1}]}, {"rules": [{"floor": 2}]}),
}
DEFAULTS = {
    name: node["default"]
    for name, node in build_schema()["properties"]["spec"]["properties"].items()
    if "default" in node
}
FIXED = "cannot be changed after creation; delete the evaluation, or create another one with a new name"
CANCEL = ("spec.cancel", "cancel cannot be taken back; create a new evaluation instead")
WAY_TO = {
    Phase.QUEUED: [],
    Phase.RUNNING: [Phase.RUNNING],
    Phase.COMPLETED: [Phase.RUNNING, Phase.COMPLETED],
    Phase.FAILED: [Phase.FAILED],
    Phase.CANCELLED: [Phase.CANCELLED],
}
PHASES = {
    Phase.QUEUED: "a Queued evaluation may become Cancelled or Failed or Running only",
    Phase.RUNNING: "a Running evaluation may become Cancelled or Completed or Failed or Queued only",
    Phase.COMPLETED: "Completed is final",
    Phase.FAILED: "Failed is final",
    Phase.CANCELLED: "Cancelled is final",
}


def test_every_rule_of_the_crd_is_in_these_tables() -> None:
    tried = [(rule.where, rule.sentence) for rule in [*ON_CREATION, NAME]]
    tried += [(f"spec.{name}", f"{name} {FIXED}") for name in BEFORE_AND_AFTER]
    tried += [CANCEL, GATE_SAMPLES, GATE_ITSELF, *(("status.phase", sentence) for sentence in PHASES.values())]
    assert sorted(tried) == sorted(list_rules())


def test_every_field_is_fixed_or_said_to_be_mutable() -> None:
    assert set(build_schema()["properties"]["spec"]["properties"]) == {
        *BEFORE_AND_AFTER,
        *MUTABLE,
        *NOT_COMPARED_IN_SCHEMA,
    }


def planted(rule: Rule, value: Any) -> Object:
    return plant_value(tuple(rule.where.split(".")), value)


def cases(*, good: bool) -> list[Any]:
    return [
        pytest.param(rule, value, id=f"{rule.where}={value!r}"[:80])
        for rule in ON_CREATION
        for value in (rule.good if good else rule.bad)
    ]


class TestOnTheServer:
    pytestmark = integration

    @pytest.mark.parametrize(("rule", "value"), cases(good=False))
    async def test_refused_at_creation(self, server: Transport, rule: Rule, value: Any) -> None:
        with pytest.raises(errors.Invalid) as refused:
            await server.create(EVALUATIONS, planted(rule, value), dry_run=True)
        where = rule.where.replace(".[]", "[0]").replace(".{}", "[key]")
        assert f"{where}: Invalid value: " in refused.value.message
        assert rule.sentence in refused.value.message

    @pytest.mark.parametrize(("rule", "value"), cases(good=True))
    async def test_accepted_at_creation(self, server: Transport, rule: Rule, value: Any) -> None:
        await server.create(EVALUATIONS, planted(rule, value), dry_run=True)

    async def test_another_way_to_resume_is_refused_with_those_that_there_are(self, server: Transport) -> None:
        with pytest.raises(errors.Invalid) as refused:
            await server.create(EVALUATIONS, plant_value(("spec", "resume"), "always"), dry_run=True)
        assert 'spec.resume: Unsupported value: "always": supported values: ' in refused.value.message
        assert all(f'"{policy.value}"' in refused.value.message for policy in ResumePolicy)

    @pytest.mark.parametrize("name", NAME.bad)
    async def test_names_that_are_refused(self, server: Transport, name: str) -> None:
        with pytest.raises(errors.Invalid, match=NAME.sentence):
            await server.create(EVALUATIONS, named(name), dry_run=True)

    @pytest.mark.parametrize("name", NAME.good)
    async def test_names_that_are_accepted(self, server: Transport, name: str) -> None:
        await server.create(EVALUATIONS, named(name), dry_run=True)

    @pytest.mark.parametrize("field", BEFORE_AND_AFTER)
    async def test_what_was_asked_for_cannot_change(self, server: Transport, field: str) -> None:
        before, after = BEFORE_AND_AFTER[field]
        body = plant_value(("spec", field), before)
        body["metadata"]["name"] = f"fixed-{field.lower()}"
        await server.create(EVALUATIONS, body)
        changes = [{"op": "replace", "path": f"/spec/{field}", "value": after}]
        if field not in ("model", "tasks") and before != DEFAULTS.get(field):
            changes.append({"op": "remove", "path": f"/spec/{field}"})
        for change in changes:
            with pytest.raises(errors.Invalid, match=f"spec.{field}: Invalid value: .*{field} {FIXED}"):
                await server.json_patch(EVALUATIONS, body["metadata"]["name"], [change])

    @pytest.mark.parametrize("field", [{"logSamples": False}, {"predictOnly": True}])
    async def test_a_gate_without_samples_is_refused(self, server: Transport, field: Object) -> None:
        body = plant_value(("spec", "gate"), GATE)
        await server.create(EVALUATIONS, body, dry_run=True)
        body["spec"] |= field
        with pytest.raises(errors.Invalid, match=f"{GATE_SAMPLES[0]}: Invalid value: .*{GATE_SAMPLES[1]}"):
            await server.create(EVALUATIONS, body, dry_run=True)

    async def test_an_evaluation_is_not_its_own_baseline(self, server: Transport) -> None:
        body = plant_value(("spec", "gate"), GATE)
        body["metadata"]["name"] = "main"
        with pytest.raises(errors.Invalid, match=f"{GATE_ITSELF[0][1:]}: Invalid value: .*{GATE_ITSELF[1]}"):
            await server.create(EVALUATIONS, body, dry_run=True)

    async def test_an_unset_field_cannot_be_set_later(self, server: Transport) -> None:
        await server.create(EVALUATIONS, named("unset"))
        for field in sorted(set(BEFORE_AND_AFTER) - set(DEFAULTS) - {"model", "tasks"}):
            patch = [{"op": "add", "path": f"/spec/{field}", "value": BEFORE_AND_AFTER[field][0]}]
            with pytest.raises(errors.Invalid, match=f"{field} {FIXED}"):
                await server.json_patch(EVALUATIONS, "unset", patch)

    async def test_the_fields_for_steering_can_change(self, server: Transport) -> None:
        await server.create(EVALUATIONS, named("steered"))
        for field, value in (
            ("priority", 5),
            ("hold", True),
            ("ttlSecondsAfterFinished", 60),
            ("hold", False),
            ("keep", True),
            ("keep", False),
            ("cancel", True),
        ):
            changed = await server.json_patch(
                EVALUATIONS, "steered", [{"op": "add", "path": f"/spec/{field}", "value": value}]
            )
            assert changed["spec"][field] == value

    @pytest.mark.parametrize(
        "patch", [{"op": "replace", "path": "/spec/cancel", "value": False}, {"op": "remove", "path": "/spec/cancel"}]
    )
    async def test_cancel_goes_one_way(self, server: Transport, patch: Object) -> None:
        name = f"cancelled-{patch['op']}"
        await server.create(EVALUATIONS, {**named(name), "spec": {**named(name)["spec"], "cancel": True}})
        with pytest.raises(errors.Invalid, match=f"{CANCEL[0]}: Invalid value: .*{CANCEL[1]}"):
            await server.json_patch(EVALUATIONS, name, [patch])

    @pytest.mark.parametrize("before", Phase)
    async def test_a_phase_follows_only_where_it_may(self, server: Transport, before: Phase) -> None:
        name = f"phase-{before.lower()}"
        await server.create(EVALUATIONS, named(name))
        for phase in WAY_TO[before]:
            await write_phase(server, name, phase)
        for after in set(Phase) - FOLLOWS[before] - {before}:
            with pytest.raises(errors.Invalid, match=f"status.phase: Invalid value: .*{PHASES[before]}"):
                await write_phase(server, name, after)
        for after in FOLLOWS[before]:
            await server.create(EVALUATIONS, named(f"{name}-{after.lower()}"))
            for phase in [*WAY_TO[before], after]:
                await write_phase(server, f"{name}-{after.lower()}", phase)


def named(name: str) -> Object:
    body = plant_value(("spec", "model"), "llava_hf")
    return {**body, "metadata": {"name": name}}


async def write_phase(server: Transport, name: str, phase: Phase) -> None:
    patch = [{"op": "replace", "path": "/status/phase", "value": phase.value}]
    await server.json_patch(EVALUATIONS, name, patch, subresource="status")


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
async def test_a_refused_label_key_is_named(server: Transport) -> None:
    with pytest.raises(errors.Invalid, match="no key: give label keys, for example"):
        await server.create(
            EVALUATIONS, plant_value(("spec", "nodeSelector"), {"good": "a", "no key": "b"}), dry_run=True
        )
