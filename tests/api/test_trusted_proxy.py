"""Mode `proxy`: whom a proxy names counts with its secret alone, and may do what the cluster allows."""

import time
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from deployment import Kubectl
from fastapi import FastAPI
from front_end_fixtures import StartFrontEnd
from offline_application import make_offline_application
from plain_http import NO_TLS

from lmms_eval_api.auth import make_trusted_proxy
from lmms_eval_api.auth.cluster_accounts import TOKEN_REVIEWS
from lmms_eval_api.settings import ApiSettings, AuthMode, ProxyHeaders, SettingsError
from lmms_eval_core.kube.client import KubeClient, Object, Resource

SECRET = "shared-with-the-proxy"
PROVED = {"X-Lmms-Eval-Proxy-Secret": SECRET}
ANN = {"X-Forwarded-User": "ann@example.com", "X-Forwarded-Groups": "team-a,team-b"}


class Cluster:
    """An API server that allows what one user asks for, and knows one token."""

    namespace = "team"

    def __init__(self) -> None:
        self.asked: list[Object] = []

    async def create(self, resource: Resource, body: Object) -> Object:
        if resource == TOKEN_REVIEWS:
            return {"status": {"authenticated": body["spec"]["token"] == "known", "user": {"username": "ci"}}}
        self.asked.append(body["spec"])
        return {"status": {"allowed": body["spec"]["user"] in ("ann@example.com", "ci")}}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def app(cluster: Cluster, tmp_path: Path) -> FastAPI:
    secrets = tmp_path / "proxy"
    secrets.mkdir()
    (secrets / "secret").write_text(SECRET)
    client = cast(KubeClient, cluster)
    return make_offline_application(tmp_path, client=client, auth=AuthMode.PROXY, proxy_secrets=secrets)


async def get(app: FastAPI, *headers: dict[str, str], path: str = "/me") -> httpx.Response:
    sent = [(name, text) for some in headers for name, text in some.items()]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://front-end") as session:
        return await session.get(path, headers=sent)


async def test_whom_the_proxy_names_is_who_calls(app: FastAPI, cluster: Cluster) -> None:
    me = (await get(app, PROVED, ANN)).raise_for_status().json()
    assert (me["name"], me["authentication"]) == ("ann@example.com", "proxy")
    assert me["rights"] == {"read": True, "submit": True, "change": True}
    assert cluster.asked[0]["user"] == "ann@example.com"
    assert cluster.asked[0]["groups"] == ["team-a", "team-b", "system:authenticated"]
    # An identity provider's token, which proxies send along, plays no part.
    assert (await get(app, PROVED, ANN, {"Authorization": "Bearer of the provider"})).json()["name"] == me["name"]


async def test_who_has_no_right_is_told_so(app: FastAPI) -> None:
    answer = await get(app, PROVED, {"X-Forwarded-User": "bob"}, path="/queue")
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("bob may not list")


@pytest.mark.parametrize(
    "headers",
    [
        [ANN],
        [ANN, {"X-Lmms-Eval-Proxy-Secret": ""}],
        [ANN, {"X-Lmms-Eval-Proxy-Secret": "wrong"}],
        [ANN, PROVED, {"X-Lmms-Eval-Proxy-Secret": "wrong"}],
        [ANN, PROVED, {"X-Forwarded-User": "bob"}],
        [PROVED],
        [PROVED, {"X-Forwarded-User": ""}],
        [PROVED, {"X-Forwarded-User": "system:admin"}],
        [PROVED, {"X-Forwarded-User": " system:serviceaccount:team:ci"}],
        [PROVED, {"X-Forwarded-User": "a" * 257}],
        [PROVED, {"X-Forwarded-Email": "ann@example.com"}],
    ],
)
async def test_anything_less_is_nobody(app: FastAPI, headers: list[dict[str, str]]) -> None:
    assert (await get(app, *headers)).status_code == 401


async def test_nobody_gets_into_a_group_of_the_cluster(app: FastAPI, cluster: Cluster) -> None:
    groups = {"X-Forwarded-Groups": "system:masters, team-a ,,system:nodes\t,system:masters"}
    await get(app, PROVED, {"X-Forwarded-User": "ann@example.com"}, groups, {"X-Forwarded-Groups": "system:masters"})
    assert cluster.asked[0]["groups"] == ["team-a", "system:authenticated"]


async def test_programs_come_with_tokens_of_the_cluster(app: FastAPI) -> None:
    me = (await get(app, {"Authorization": "Bearer known"})).json()
    assert (me["name"], me["authentication"]) == ("ci", "token")


async def test_a_replaced_secret_counts_and_the_old_one_does_not(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmms_eval_api.auth.tokens.CHECK_SECONDS", 0)
    (tmp_path / "proxy" / "secret").write_text("another one")
    assert (await get(app, PROVED, ANN)).status_code == 401
    assert (await get(app, {"X-Lmms-Eval-Proxy-Secret": "another one"}, ANN)).status_code == 200


def test_without_a_secret_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no secret of the proxy"):
        make_trusted_proxy(ApiSettings(auth=AuthMode.PROXY, proxy_secrets=tmp_path))
    assert make_trusted_proxy(ApiSettings(auth=AuthMode.KUBERNETES, proxy_secrets=tmp_path)) is None


def test_the_headers_can_be_named() -> None:
    read = ApiSettings.from_environment
    named = read({"LMMS_EVAL_API_PROXY_HEADERS": "X-Secret, X-Auth-Request-User,X-Auth-Request-Groups"})
    assert named.proxy_headers == ProxyHeaders("X-Secret", "X-Auth-Request-User", "X-Auth-Request-Groups")
    for wrong in ("X-Secret", "a,b", "a,b,A", "a,b,c d", "a,b,c,d"):
        with pytest.raises(SettingsError, match="three headers"):
            read({"LMMS_EVAL_API_PROXY_HEADERS": wrong})


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_real_api_server_decides_by_user_and_group(
    start_front_end: StartFrontEnd, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    secrets = tmp_path / "proxy"
    secrets.mkdir()
    (secrets / "secret").write_text(SECRET)
    environment = {"LMMS_EVAL_API_AUTH": "proxy", "LMMS_EVAL_API_PROXY_SECRETS": str(secrets)}
    front_end = start_front_end(**environment, LMMS_EVAL_API_AUTH_CACHE_SECONDS="1")
    front_end.wait_until_ready()
    verbs, resource = "create,get,list", "--resource=lmmevaluations.lmms-eval.io"
    kubectl("-n", namespace, "create", "role", "readers", "--verb=get,list", resource)
    kubectl("-n", namespace, "create", "role", "writers", f"--verb={verbs}", resource)
    kubectl("-n", namespace, "create", "rolebinding", "readers", "--role=readers", "--group=team-b")
    kubectl("-n", namespace, "create", "rolebinding", "writers", "--role=writers", "--user=ann@example.com")

    def rights(**headers: str) -> Any:
        sent = PROVED | {f"X-Forwarded-{name}": text for name, text in headers.items()}
        return httpx.get(f"{front_end.url}/me", headers=sent, trust_env=False, verify=NO_TLS).json()["rights"]

    def wait_for(expected: dict[str, bool], **headers: str) -> None:
        # The API server learns of a binding a moment later.
        deadline = time.monotonic() + 60
        while (found := rights(**headers)) != expected:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    wait_for({"read": True, "submit": True, "change": False}, User="ann@example.com")
    wait_for({"read": True, "submit": False, "change": False}, User="bob", Groups="team-a,team-b")
    wait_for({"read": False, "submit": False, "change": False}, User="bob", Groups="team-a,system:masters")
