"""Who gets media: a page of this front end for its user, but no other site, and nobody whose token or right is gone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from media_place import IMAGE, OTHER, MediaPlace
from offline_application import BEARER, TOKEN, make_offline_application

from lmms_eval_api.auth.attributes import derive_attributes, is_stream
from lmms_eval_api.auth.cluster_accounts import TOKEN_REVIEWS
from lmms_eval_api.settings import AuthMode
from lmms_eval_core.kube.client import KubeClient, Object, Resource

BASE = "https://front-end"
FORM = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Origin": BASE}
IN_PAGE = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


class Album:
    """A front end with tokens, one image that job `a` shows, and a browser."""

    def __init__(self, tokens: Path, **settings: Any) -> None:
        place = MediaPlace()
        self.digest = place.show(IMAGE)
        app = make_offline_application(tokens, place.backend, **settings)
        self.browser = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE)
        self.place = place

    async def sign_in(self) -> None:
        answer = await self.browser.post("/ui/session", data={"token": TOKEN}, headers=FORM)
        assert answer.status_code == 303

    async def get(self, headers: dict[str, str]) -> httpx.Response:
        return await self.browser.get(f"/jobs/a/media/{self.digest}", headers=headers)


@pytest.fixture
async def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Album]:
    monkeypatch.setattr("lmms_eval_api.auth.tokens.CHECK_SECONDS", 0)
    made = Album(tmp_path)
    async with made.browser:
        yield made


async def test_the_page_shows_them_to_its_user(album: Album) -> None:
    assert (await album.get(IN_PAGE)).status_code == 401
    await album.sign_in()
    for destination in ("image", "video", "audio", "empty"):
        assert (await album.get(IN_PAGE | {"Sec-Fetch-Dest": destination})).content == IMAGE
    # Opened by a link of the page, in a tab of its own.
    assert (await album.get({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"})).status_code == 200
    assert (await album.get(BEARER)).content == IMAGE


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_no_other_site_shows_them(album: Album, site: str) -> None:
    await album.sign_in()
    answer = await album.get(IN_PAGE | {"Sec-Fetch-Site": site})
    assert answer.status_code == 401
    assert album.place.store.calls == 0
    # What a browser has a credential of its own for is not shown either.
    allowed = await album.get(IN_PAGE | BEARER | {"Sec-Fetch-Site": site})
    assert allowed.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in allowed.headers


async def test_a_revoked_token_shows_nothing_more(album: Album, tmp_path: Path) -> None:
    await album.sign_in()
    etag = (await album.get(IN_PAGE)).headers["ETag"]
    assert (await album.get(IN_PAGE | {"If-None-Match": etag})).status_code == 304
    (tmp_path / "tests").write_text("another")
    assert (await album.get(IN_PAGE | {"If-None-Match": etag})).status_code == 401
    assert (await album.get(IN_PAGE)).status_code == 401


@pytest.mark.parametrize("how", ["delete", "form"])
async def test_signing_out_clears_what_the_browser_has_kept(album: Album, how: str) -> None:
    await album.sign_in()
    if how == "delete":
        answer = await album.browser.delete("/ui/session", headers=FORM)
    else:
        answer = await album.browser.post("/ui/session/end", headers=FORM)
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    assert (await album.get(IN_PAGE)).status_code == 401


class Cluster:
    """What an API server says of callers: everybody may get job `b`."""

    namespace = "team"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def create(self, resource: Resource, body: Object) -> Object:
        if resource == TOKEN_REVIEWS:
            return {"status": {"authenticated": True, "user": {"username": "somebody"}}}
        wanted = body["spec"]["resourceAttributes"]
        self.asked.append((wanted["verb"], wanted.get("name", "")))
        return {"status": {"allowed": wanted.get("name") == OTHER.name}}


async def test_the_right_is_that_to_the_job(tmp_path: Path) -> None:
    """Whoever may read another job alone gets none of this one's media, whatever they have of them already."""
    cluster = Cluster()
    album = Album(tmp_path, client=cast(KubeClient, cluster), auth=AuthMode.KUBERNETES)
    async with album.browser as browser:
        theirs = album.place.show(IMAGE + b"theirs", prefix=OTHER)
        for headers in (BEARER, BEARER | {"If-None-Match": f'"{album.digest}"'}):
            assert (await album.get(headers)).status_code == 403
        assert (await browser.get(f"/jobs/b/media/{theirs}", headers=BEARER)).status_code == 200
        assert (await browser.get(f"/jobs/b/media/{album.digest}", headers=BEARER)).status_code == 404
    assert {("get", "a"), ("get", "b")} <= set(cluster.asked) <= {("get", name) for name in ("", "a", "b")}


def test_the_path_says_which_job() -> None:
    path = f"/jobs/a/media/{'0' * 64}"
    for method in ("GET", "HEAD"):
        assert derive_attributes(method, path) == ("get", "a")
        assert not is_stream(method, path)
