"""The policies on what an evaluation asks for, on a real API server: modelArgs, and what the administrator permits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
import yaml
from crd_samples import plant_value
from deployment import ROOT

from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

PERMISSIVE: Object = {
    "policies": {
        "images": ["registry.example.com/team/*", "one.example.com/evaluator:v1"],
        "secrets": ["*"],
        "volumeClaims": ["data-*", "checkpoints"],
        "priorityClasses": ["low", "high"],
        "runtimeClasses": ["nvidia"],
        "trustRemoteCode": True,
    },
    "evaluator": {"media": {"max": "original"}},
}


def asking(**spec: Any) -> Object:
    return plant_value(("spec",), {"model": "llava_hf", "tasks": ["mme"], **spec})


def with_arguments(**arguments: Any) -> Object:
    return asking(modelArgs=arguments)


def with_secret(name: str) -> Object:
    return asking(env=[{"name": "HF_TOKEN", "secretKeyRef": {"name": name, "key": "token"}}])


def with_claim(name: str) -> Object:
    return asking(volumes=[{"claimName": name, "mountPath": "/data"}])


async def in_force(server: Transport, refused: Object) -> None:
    """Waits until the API server has learned of the policies: a second or so after they were made."""
    async with asyncio.timeout(60):
        while True:
            try:
                await server.create(EVALUATIONS, refused, dry_run=True)
            except errors.Invalid:
                return
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def default(guard: Callable[..., Any], kubeconfig: str) -> AsyncIterator[Transport]:
    """A namespace with the policies of the chart's own values."""
    guarded = guard({})
    connected = await transport.connect(namespace=guarded.namespace, kubeconfig=kubeconfig)
    await in_force(connected, with_arguments(api_key="x"))
    await in_force(connected, asking(trustRemoteCode=True))
    yield connected
    await connected.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def permissive(guard: Callable[..., Any], kubeconfig: str) -> AsyncIterator[Transport]:
    """A namespace whose administrator permits more."""
    guarded = guard(PERMISSIVE)
    connected = await transport.connect(namespace=guarded.namespace, kubeconfig=kubeconfig)
    await in_force(connected, with_arguments(api_key="x"))
    await in_force(connected, asking(image="a"))
    yield connected
    await connected.close()


NO_NAME = "give at most 128 letters, digits and underscores, the first no digit"
NO_SCALAR = "is null, a list or a map; give text, a number, true or false"
NO_TEXT = "give at most 4096 characters in one line, without control characters"
SECRET = "looks like a secret, which everybody could read here; use env with secretKeyRef"
BAD_ARGUMENTS = [
    ({"1a": "x"}, f"modelArgs.1a: the name is not possible; {NO_NAME}"),
    ({"a-b": "x"}, f"modelArgs.a-b: the name is not possible; {NO_NAME}"),
    ({"a=b": "x"}, f"modelArgs.a=b: the name is not possible; {NO_NAME}"),
    ({"": "x"}, f"modelArgs.: the name is not possible; {NO_NAME}"),
    ({"a\n": "x"}, "a name in modelArgs is not possible: " + NO_NAME),
    ({"a" * 129: "x"}, NO_NAME),
    ({"a": None}, f"modelArgs.a {NO_SCALAR}"),
    ({"a": []}, f"modelArgs.a {NO_SCALAR}"),
    ({"a": ["x"]}, f"modelArgs.a {NO_SCALAR}"),
    ({"a": {"b": "c"}}, f"modelArgs.a {NO_SCALAR}"),
    ({"good": 1, "a": {}}, f"modelArgs.a {NO_SCALAR}"),
    ({"a": "x" * 4097}, f"modelArgs.a is not possible; {NO_TEXT}"),
    ({"a": "x\ny"}, f"modelArgs.a is not possible; {NO_TEXT}"),
    ({"a": "\x1b[31m"}, f"modelArgs.a is not possible; {NO_TEXT}"),
    ({"a": "\x7f"}, f"modelArgs.a is not possible; {NO_TEXT}"),
    *(
        ({name: "x"}, f"modelArgs.{name} {SECRET}")
        for name in (
            "api_key",
            "apikey",
            "API_KEY",
            "token",
            "Token",
            "hf_token",
            "azure_api_key",
            "secret",
            "client_secret",
        )
    ),
    *(
        ({name: "x"}, f"modelArgs.{name} {SECRET}")
        for name in ("password", "db_passwd", "aws_secret_access_key", "credentials")
    ),
    *(
        (
            {"base_url": address},
            "modelArgs.base_url is an address with a login, which everybody could read here; use env with",
        )
        for address in ("https://user:secret@host/v1", "https://token@host", "a,b=http://:secret@host")
    ),
    *(
        ({name: size}, f"modelArgs.{name} is too large; give at most 64, as a pod gets no more GPUs")
        for name in ("tensor_parallel_size", "tp_size", "data_parallel_size", "dp_size")
        for size in ("9" * 4096, "065", 65, 1e300)
    ),
    ({"trust_remote_code": True}, "modelArgs.trust_remote_code is not possible; use spec.trustRemoteCode"),
]
GOOD_ARGUMENTS: list[Object] = [
    {},
    {
        "pretrained": "Qwen/Qwen2.5-VL-7B-Instruct",
        "max_pixels": 1605632,
        "temperature": 0.7,
        "use_cache": True,
        "n": -1,
    },
    {
        "a": "x,y=z",
        "b": 'it\'s "quoted"',
        "c": "{'a': {'b': [1, 2]}}",
        "d": "ümläut 日本語",
        "e": "",
        "f": "$(X) `x` ; | &",
    },
    {
        "image_token": "<image>",
        "video_key": "video",
        "tokenizer": "x",
        "max_new_tokens": 16,
        "input_key": "a",
        "secretary": "x",
    },
    {"base_url": "https://host/v1?mail=a@b", "pretrained": "hf://datasets/a/b@main"},
    {"a" * 128: "x" * 4096, "_a": 0},
    {"tensor_parallel_size": "64", "tp_size": 64, "data_parallel_size": "auto", "dp_size": "0008"},
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD_ARGUMENTS, ids=[repr(case)[:60] for case in BAD_ARGUMENTS])
async def test_model_args_that_are_refused(default: Transport, arguments: Object, sentence: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        await default.create(EVALUATIONS, asking(modelArgs=arguments), dry_run=True)
    assert sentence in refused.value.message


@pytest.mark.parametrize("arguments", GOOD_ARGUMENTS, ids=lambda value: repr(value)[:60])
async def test_model_args_that_arrive_as_they_are(default: Transport, arguments: Object) -> None:
    created = await default.create(EVALUATIONS, asking(modelArgs=arguments), dry_run=True)
    assert created["spec"]["modelArgs"] == arguments


@pytest.mark.parametrize(
    "change",
    [
        {"op": "replace", "path": "/spec/modelArgs/a", "value": 2},
        {"op": "replace", "path": "/spec/modelArgs/a", "value": "1"},
        {"op": "replace", "path": "/spec/modelArgs/a", "value": True},
        {"op": "add", "path": "/spec/modelArgs/b", "value": 1},
        {"op": "remove", "path": "/spec/modelArgs/a"},
        {"op": "remove", "path": "/spec/modelArgs"},
    ],
    ids=str,
)
async def test_model_args_cannot_change(default: Transport, change: Object) -> None:
    body = with_arguments(a=1)
    body["metadata"] = {"generateName": "fixed-"}
    name = (await default.create(EVALUATIONS, body))["metadata"]["name"]
    with pytest.raises(errors.Invalid, match="modelArgs cannot be changed after creation"):
        await default.json_patch(EVALUATIONS, name, [change])
    await default.json_patch(EVALUATIONS, name, [{"op": "replace", "path": "/spec/cancel", "value": True}])


async def test_model_args_cannot_be_added_later(default: Transport) -> None:
    body = asking()
    body["metadata"] = {"name": "without"}
    await default.create(EVALUATIONS, body)
    with pytest.raises(errors.Invalid, match="modelArgs cannot be changed after creation"):
        await default.json_patch(EVALUATIONS, "without", [{"op": "add", "path": "/spec/modelArgs", "value": {"a": 1}}])


OWN_IMAGE = "lmms-eval/evaluator:0.1.0"
BY_DEFAULT = [
    (asking(image="evil/image"), f"image evil/image is not permitted here; permitted: {OWN_IMAGE}"),
    (asking(image=OWN_IMAGE + "x"), "is not permitted here"),
    (with_secret("other"), "env refers to the Secret other, which is not permitted here; permitted: lmms-eval-env-*"),
    (with_secret("lmms-eval-store"), "env refers to the Secret lmms-eval-store, which is not permitted here"),
    (
        with_claim("lmms-eval-s3"),
        "the volume claim lmms-eval-s3 is not permitted here; permitted: *, but never one of the release",
    ),
    (with_claim("lmms-eval-cache"), "the volume claim lmms-eval-cache is not permitted here"),
    (asking(priorityClassName="high"), "this priorityClassName is not permitted here; permitted: none"),
    (asking(runtimeClassName="nvidia"), "this runtimeClassName is not permitted here; permitted: none"),
    (asking(trustRemoteCode=True), "the administrator permits it with policies.trustRemoteCode=true"),
    (asking(media="original"), "media may be: none, thumbs, display; the administrator sets evaluator.media.max"),
]
PERMITTED_BY_DEFAULT = [
    asking(media="display"),
    asking(media="none"),
    asking(image=OWN_IMAGE),
    with_secret("lmms-eval-env-hub"),
    with_claim("anything"),
]


@pytest.mark.parametrize(("body", "sentence"), BY_DEFAULT, ids=[sentence[:40] for _, sentence in BY_DEFAULT])
async def test_what_the_administrator_does_not_permit(default: Transport, body: Object, sentence: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        await default.create(EVALUATIONS, body, dry_run=True)
    assert sentence in refused.value.message


@pytest.mark.parametrize("body", PERMITTED_BY_DEFAULT, ids=lambda body: str(body["spec"])[40:90])
async def test_what_is_permitted_by_default(default: Transport, body: Object) -> None:
    await default.create(EVALUATIONS, body, dry_run=True)


PERMITTED = [
    asking(image="registry.example.com/team/evaluator:v2"),
    asking(image="registry.example.com/team/a/b@sha256:" + "0" * 64),
    asking(image="one.example.com/evaluator:v1"),
    asking(image=OWN_IMAGE),
    with_secret("anything"),
    with_claim("data-1"),
    with_claim("checkpoints"),
    asking(priorityClassName="low"),
    asking(runtimeClassName="nvidia"),
    asking(trustRemoteCode=True),
    asking(media="original"),
]
STILL_REFUSED = [
    (
        asking(image="registry.example.com/team-b/evaluator"),
        "is not permitted here; permitted: registry.example.com/team/*, one.",
    ),
    (asking(image="one.example.com/evaluator:v10"), "is not permitted here"),
    (asking(image="REGISTRY.example.com/team/x"), "is not permitted here"),
    (
        with_secret("lmms-eval-token"),
        "env refers to the Secret lmms-eval-token, which is not permitted here; permitted: *",
    ),
    (with_claim("dat"), "the volume claim dat is not permitted here; permitted: data-*, checkpoints"),
    (asking(priorityClassName="highest"), "this priorityClassName is not permitted here; permitted: low, high"),
    (asking(runtimeClassName="gvisor"), "this runtimeClassName is not permitted here; permitted: nvidia"),
    (with_arguments(trust_remote_code=True), "use spec.trustRemoteCode"),
]


@pytest.mark.parametrize("body", PERMITTED, ids=lambda body: str(body["spec"])[40:90])
async def test_what_the_administrator_permits(permissive: Transport, body: Object) -> None:
    await permissive.create(EVALUATIONS, body, dry_run=True)


@pytest.mark.parametrize(("body", "sentence"), STILL_REFUSED, ids=[sentence[:40] for _, sentence in STILL_REFUSED])
async def test_what_a_permissive_administrator_does_not_permit(
    permissive: Transport, body: Object, sentence: str
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        await permissive.create(EVALUATIONS, body, dry_run=True)
    assert sentence in refused.value.message


EXAMPLES = {file.name: yaml.safe_load(file.read_text()) for file in sorted((ROOT / "examples").glob("*.yaml"))}


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_examples_are_permitted_by_default(default: Transport, example: str) -> None:
    await default.create(EVALUATIONS, EXAMPLES[example], dry_run=True)


async def test_policies_guard_their_own_namespace_alone(
    default: Transport, permissive: Transport, server: Transport
) -> None:
    for body in (with_arguments(api_key="x"), asking(trustRemoteCode=True), with_claim("lmms-eval-s3")):
        await server.create(EVALUATIONS, body, dry_run=True)


async def test_an_evaluation_from_before_the_policies_can_be_cancelled(
    guard: Callable[..., Any], kubeconfig: str
) -> None:
    guarded = guard({"policies": {"install": False}})
    server = await transport.connect(namespace=guarded.namespace, kubeconfig=kubeconfig)
    try:
        old = asking(trustRemoteCode=True, image="old/image", modelArgs={"api_key": "x", "a": [1]})
        await server.create(EVALUATIONS, {**old, "metadata": {"name": "old"}})
        guard({}, namespace=guarded.namespace)
        await in_force(server, with_arguments(api_key="x"))
        await in_force(server, asking(trustRemoteCode=True))
        changed = await server.json_patch(
            EVALUATIONS, "old", [{"op": "replace", "path": "/spec/cancel", "value": True}]
        )
        assert changed["spec"]["cancel"] is True
    finally:
        await server.close()
