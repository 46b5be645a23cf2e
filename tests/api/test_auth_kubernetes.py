"""Mode `kubernetes` with real service accounts, tokens and rights, and a front end that asks a real API server."""

import asyncio
import base64
import contextlib
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import api_server_proxy
import httpx
import namespaces
import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from deployment import Kubectl
from front_end_fixtures import FrontEnd, StartFrontEnd
from plain_http import NO_TLS
from streams import follow_until_severed, open_session

from lmms_eval_api.auth.middleware import REAUTHORIZE_SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REQUEST = {"model": "llava_hf", "tasks": ["mme"]}
RESOURCE = "lmmevaluations.lmms-eval.io"
KEPT_SECONDS = 2.0
# Longer than it takes to ask a few times in an outage.
OUTAGE_SECONDS = 15
# For a machine that does other things as well.
SLACK_SECONDS = 20
VERBS = {"stays": ("create", "get"), "refused": ("get",), "gone": ("get",)}

Account = Callable[..., str]


@pytest.fixture
def account(kubectl: Kubectl, namespace: str) -> Account:
    """Makes a service account with these verbs on evaluations in the test's namespace; its token."""

    def make(name: str, *verbs: str, only: str = "", home: str = namespace, **token: str) -> str:
        kubectl("-n", home, "create", "serviceaccount", name)
        if verbs:
            named = [f"--resource-name={only}"] if only else []
            flags = [f"--verb={','.join(verbs)}", f"--resource={RESOURCE}", *named]
            kubectl("-n", namespace, "create", "role", name, *flags)
            kubectl("-n", namespace, "create", "rolebinding", name, f"--role={name}", f"--serviceaccount={home}:{name}")
        return kubectl(
            "-n", home, "create", "token", name, *(f"--{key}={value}" for key, value in token.items())
        ).strip()

    return make


@pytest.fixture
def front_end(start_front_end: StartFrontEnd) -> FrontEnd:
    """A front end that asks the cluster who calls."""
    started = start_front_end(LMMS_EVAL_API_AUTH="kubernetes", LMMS_EVAL_API_AUTH_CACHE_SECONDS=str(KEPT_SECONDS))
    started.wait_until_ready()
    return started


def ask(front_end: FrontEnd, token: str, method: str, path: str, **options: Any) -> httpx.Response:
    with front_end.session(token) as session:
        return session.request(method, path, **options)


def until(status: int, answer: Callable[[], httpx.Response], *, seconds: float = 20) -> httpx.Response:
    deadline = time.monotonic() + seconds
    while (got := answer()).status_code != status:
        assert time.monotonic() < deadline, got.text
        time.sleep(0.1)
    return got


def test_each_may_do_what_the_rights_say_and_nothing_else(
    front_end: FrontEnd, account: Account, kubectl: Kubectl, namespace: str
) -> None:
    tokens = {
        "submitter": account("submitter", "create"),
        "reader": account("reader", "get", "list"),
        "canceller": account("canceller", "get", "patch"),
        "nobody": account("nobody"),
    }
    # The authorizer learns of a new binding by its watch.
    until(200, lambda: ask(front_end, tokens["submitter"], "POST", "/evaluate", json=REQUEST))
    until(200, lambda: ask(front_end, tokens["reader"], "GET", "/queue"))
    job = ask(front_end, tokens["submitter"], "POST", "/evaluate", json=REQUEST).json()["job_id"]
    until(200, lambda: ask(front_end, tokens["canceller"], "GET", f"/jobs/{job}"))
    asked = {
        "create": ("POST", "/evaluate"),
        "get": ("GET", f"/jobs/{job}"),
        "list": ("GET", "/queue"),
        "patch": ("DELETE", f"/jobs/{job}"),
    }
    allowed = {"submitter": {"create"}, "reader": {"get", "list"}, "canceller": {"get", "patch"}, "nobody": set[str]()}
    for name, token in tokens.items():
        for verb, (method, path) in asked.items():
            answer = ask(front_end, token, method, path, json=REQUEST if method == "POST" else None)
            assert answer.status_code == (200 if verb in allowed[name] else 403), f"{name} {verb}: {answer.text}"
            if answer.status_code == 403:
                detail = answer.json()["detail"]
                assert detail.startswith(f"system:serviceaccount:{namespace}:{name} may not {verb} {RESOURCE}")
                assert f"kubectl create role evaluations --verb={verb} --resource={RESOURCE} -n {namespace}" in detail
    cancelled_by = "jsonpath={.metadata.annotations.lmms-eval\\.io/cancelled-by}"
    found = kubectl("-n", namespace, "get", "lmmevaluation", job, "-o", cancelled_by)
    assert found == f"system:serviceaccount:{namespace}:canceller"
    front_end.wait_for_log(f'"caller":"system:serviceaccount:{namespace}:reader"')


def test_a_right_to_one_job_is_a_right_to_that_one(front_end: FrontEnd, account: Account) -> None:
    submitter = account("submitter", "create")
    until(200, lambda: ask(front_end, submitter, "POST", "/evaluate", json=REQUEST))
    one, other = (ask(front_end, submitter, "POST", "/evaluate", json=REQUEST).json()["job_id"] for _ in range(2))
    guest = account("guest", "get", only=one)
    until(200, lambda: ask(front_end, guest, "GET", f"/jobs/{one}"))
    assert ask(front_end, guest, "GET", f"/jobs/{other}").status_code == 403
    assert ask(front_end, guest, "GET", "/queue").status_code == 403


def test_a_gate_needs_the_right_to_read_its_baseline(front_end: FrontEnd, account: Account, namespace: str) -> None:
    blind, reader = account("blind", "create"), account("reader", "create", "get")
    rules = {"rules": [{"floor": 0.5}]}
    gated, dry = REQUEST | {"gate": rules | {"baseline": {"evaluation": "main"}}}, {"dryRun": "true"}
    until(200, lambda: ask(front_end, reader, "POST", "/evaluate", json=gated, params=dry))
    until(200, lambda: ask(front_end, blind, "POST", "/evaluate", json=REQUEST | {"gate": rules}, params=dry))
    for params in (dry, {}):
        answer = ask(front_end, blind, "POST", "/evaluate", json=gated, params=params)
        assert answer.status_code == 403, answer.text
        assert answer.json()["detail"].startswith(f"system:serviceaccount:{namespace}:blind may not get {RESOURCE}")


def test_the_password_of_a_url_is_a_token_too(front_end: FrontEnd, account: Account) -> None:
    token = account("reader", "get", "list")
    until(200, lambda: ask(front_end, token, "GET", "/queue"))
    url = front_end.url.replace("://", f"://anybody:{token}@")
    assert httpx.get(f"{url}/queue", trust_env=False, verify=NO_TLS).status_code == 200


def test_who_is_unknown_is_told_how_to_get_known(front_end: FrontEnd, account: Account, namespace: str) -> None:
    token = account("reader", "list")
    head, payload, signature = token.split(".")
    forged = f"{head}.{changed(payload, sub=f'system:serviceaccount:{namespace}:admin')}.{signature}"
    strangers = ["garbage", "a.b.c", "\x01", "x" * 20_000, "unusual \"'\\", token[:-5], forged, ""]
    for stranger in strangers:
        headers = {"Authorization": f"Bearer {stranger}".strip()}
        answer = httpx.get(f"{front_end.url}/queue", headers=headers, trust_env=False, verify=NO_TLS)
        # What is no header at all is refused by the server itself.
        assert answer.status_code in ((401,) if "\x01" not in stranger else (400, 401)), stranger
        if answer.status_code == 401:
            assert f"`kubectl create token ACCOUNT --namespace {namespace}`" in answer.json()["detail"]


def changed(payload: str, **claims: Any) -> str:
    known = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return encoded(json.dumps(known | claims).encode())


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_that_has_expired_opens_nothing(front_end: FrontEnd, account: Account, kubeconfig: str) -> None:
    key_file = Path(kubeconfig).parent / "pki" / "service-accounts.key"
    if not key_file.exists():
        pytest.skip("the key that this cluster signs tokens with is not at hand")
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    head, payload, _ = account("reader", "list").split(".")

    def issued(expires: float) -> str:
        text = f"{head}.{changed(payload, exp=int(expires))}"
        return f"{text}.{encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    until(200, lambda: ask(front_end, issued(time.time() + 600), "GET", "/queue"))
    assert ask(front_end, issued(time.time() - 600), "GET", "/queue").status_code == 401


def test_what_is_taken_back_ends_within_the_stated_time(
    front_end: FrontEnd, account: Account, kubectl: Kubectl, namespace: str
) -> None:
    reader, gone = account("reader", "list"), account("gone", "list")
    until(200, lambda: ask(front_end, reader, "GET", "/queue"))
    until(200, lambda: ask(front_end, gone, "GET", "/queue"))
    kubectl("-n", namespace, "delete", "rolebinding", "reader")
    kubectl("-n", namespace, "delete", "serviceaccount", "gone")
    until(403, lambda: ask(front_end, reader, "GET", "/queue"), seconds=KEPT_SECONDS + SLACK_SECONDS)
    # The API server itself remembers a good token for ten seconds.
    until(401, lambda: ask(front_end, gone, "GET", "/queue"), seconds=KEPT_SECONDS + 10 + SLACK_SECONDS)
    kubectl("-n", namespace, "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader")
    until(200, lambda: ask(front_end, reader, "GET", "/queue"), seconds=KEPT_SECONDS + SLACK_SECONDS)


async def test_streams_that_are_open_end_with_the_right_to_them(
    front_end: FrontEnd, account: Account, kubectl: Kubectl, namespace: str
) -> None:
    tokens = {name: account(name, *verbs) for name, verbs in VERBS.items()}
    for token in tokens.values():
        await asyncio.to_thread(until, 404, functools.partial(ask, front_end, token, "GET", "/jobs/nothing"))
    request = REQUEST | {"name": "job"}
    await asyncio.to_thread(until, 200, lambda: ask(front_end, tokens["stays"], "POST", "/evaluate", json=request))
    async with contextlib.AsyncExitStack() as stack:
        opened = {name: open_session(front_end, token) for name, token in tokens.items()}
        sessions = {name: await stack.enter_async_context(session) for name, session in opened.items()}
        streams = {name: await follow_until_severed(session, "/jobs/job/events") for name, session in sessions.items()}
        assert not any(stream.done() for stream in streams.values())
        kubectl("-n", namespace, "delete", "rolebinding", "refused")
        kubectl("-n", namespace, "delete", "serviceaccount", "gone")
        # What is kept, what the API server itself remembers of a good token, and the next look at the streams.
        async with asyncio.timeout(KEPT_SECONDS + 10 + REAUTHORIZE_SECONDS + SLACK_SECONDS):
            await asyncio.gather(streams["refused"], streams["gone"])
        assert not streams["stays"].done()
        streams["stays"].cancel()


def test_accounts_of_other_namespaces_need_a_binding_here(
    front_end: FrontEnd, account: Account, kubectl: Kubectl, namespace: str
) -> None:
    home = namespaces.create_namespace(kubectl, f"{namespace}-other")
    try:
        foreign = account("foreign", home=home)
        # What it may do at home does not count.
        kubectl("-n", home, "create", "role", "all", "--verb=*", f"--resource={RESOURCE}")
        kubectl("-n", home, "create", "rolebinding", "all", "--role=all", f"--serviceaccount={home}:foreign")
        time.sleep(1)
        assert ask(front_end, foreign, "GET", "/queue").status_code == 403
        guest = account("guest", "list", home=home)
        until(200, lambda: ask(front_end, guest, "GET", "/queue"))
    finally:
        kubectl("delete", "namespace", home, "--wait=false")


def test_an_audience_of_its_own_takes_no_token_that_was_meant_for_the_api_server(
    start_front_end: StartFrontEnd, account: Account
) -> None:
    front_end = start_front_end(LMMS_EVAL_API_AUTH="kubernetes", LMMS_EVAL_API_AUTH_AUDIENCE="evaluations")
    front_end.wait_until_ready()
    meant = account("meant", "list", audience="evaluations")
    until(200, lambda: ask(front_end, meant, "GET", "/queue"))
    answer = ask(front_end, account("stray", "list"), "GET", "/queue")
    assert (answer.status_code, "--audience=evaluations" in answer.json()["detail"]) == (401, True)


async def test_while_the_api_server_is_away_only_what_is_kept_counts(
    start_front_end: StartFrontEnd, account: Account, kubeconfig: str, tmp_path: Path
) -> None:
    known, unknown = account("known", "list"), account("unknown", "list")
    async with api_server_proxy.open_proxy(kubeconfig, tmp_path) as (proxy, through):
        environment = {"LMMS_EVAL_API_AUTH": "kubernetes", "LMMS_EVAL_API_AUTH_CACHE_SECONDS": str(OUTAGE_SECONDS)}
        front_end = start_front_end(KUBECONFIG=through, **environment)
        await asyncio.to_thread(front_end.wait_until_ready)
        await asyncio.to_thread(until, 200, lambda: ask(front_end, known, "GET", "/queue"))
        for mode in ("500", "cut"):
            proxy.mode = mode
            refused = await asyncio.to_thread(ask, front_end, unknown, "GET", "/queue")
            assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (503, True)
            assert "nothing was done" in refused.json()["detail"]
            assert (await asyncio.to_thread(ask, front_end, known, "GET", "/queue")).status_code == 200
        forgotten = functools.partial(until, 503, seconds=OUTAGE_SECONDS + SLACK_SECONDS)
        await asyncio.to_thread(forgotten, lambda: ask(front_end, known, "GET", "/queue"))
        proxy.mode = "pass"
        for token in (known, unknown):
            await asyncio.to_thread(until, 200, functools.partial(ask, front_end, token, "GET", "/queue"))


def test_it_needs_one_right_more_and_says_which(
    start_front_end: StartFrontEnd, account: Account, kubectl: Kubectl, namespace: str, kubeconfig: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(Path(kubeconfig).read_text())
    config["users"][0]["user"] = {"token": account("front-end", "get", "list", "watch", "create", "patch")}
    own = tmp_path / "own"
    own.write_text(yaml.safe_dump(config))
    front_end = start_front_end(KUBECONFIG=str(own), LMMS_EVAL_API_AUTH="kubernetes")
    front_end.wait_until_ready()
    reader = account("reader", "list")
    answer = ask(front_end, reader, "GET", "/queue")
    assert (answer.status_code, "system:auth-delegator" in answer.json()["detail"]) == (500, True)
    binding = ["clusterrolebinding", f"{namespace}.front-end"]
    kubectl("create", *binding, "--clusterrole=system:auth-delegator", f"--serviceaccount={namespace}:front-end")
    try:
        until(200, lambda: ask(front_end, reader, "GET", "/queue"))
    finally:
        kubectl("delete", *binding)
