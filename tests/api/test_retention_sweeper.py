"""Files of evaluations that are gone, on a real API server and a real S3 server."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import namespaces
import pytest
from api_server_proxy import open_proxy
from deployment import Kubectl
from s3_fixtures import S3Server
from stored_media import make_digest

from lmms_eval_api.retention.media_pool import MediaPool
from lmms_eval_api.retention.orphans import Sweeping
from lmms_eval_api.retention.sweeper import Sweeper, SweepSettings
from lmms_eval_core import layout, names
from lmms_eval_core.kube import errors, transport
from lmms_eval_core.kube.client import EVALUATIONS, NAMESPACES, KubeClient, Object, ObjectList, Resource
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.errors import Denied, StoreError, Unreachable
from lmms_eval_core.store.objects import Folder, ObjectStore
from lmms_eval_core.store.settings import StoreSettings

pytestmark = pytest.mark.integration

GRACE = 100.0
FILES = ("results.json", "samples/mme.jsonl.zst", "index/mme.idx", layout.COMPLETE_FILE)


class Clock:
    """The time of day, that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def show_nothing(segment: str) -> list[bytes]:
    """Read a journal of media: there is none here."""
    raise AssertionError(segment)


class Installation:
    """One namespace, its evaluations, their files, and its sweeper."""

    def __init__(self, client: KubeClient, store: ObjectStore) -> None:
        self.client = client
        self.store = store
        self.clock = Clock()
        self.sweeper = self.replica()

    def replica(self, **parts: Any) -> Sweeper:
        """Another sweeper of the same installation; parts may be replaced."""
        client, store = parts.get("client", self.client), parts.get("store", self.store)
        pool = MediaPool(store, client.namespace, show_nothing)
        settings = parts.get("settings", SweepSettings(grace=GRACE))
        return Sweeper(client, store, settings, pool, time=self.clock)

    async def create(self, name: str) -> ArtifactPrefix:
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}}
        created = await self.client.create(EVALUATIONS, {**body, "spec": {"model": "llava_hf", "tasks": ["mme"]}})
        return ArtifactPrefix(self.client.namespace, name, created["metadata"]["uid"], 1)

    async def upload(self, prefix: ArtifactPrefix) -> None:
        for file in FILES:
            await self.store.put(prefix.file(file), b"1")

    async def evaluation(self, name: str) -> ArtifactPrefix:
        """One that has run."""
        prefix = await self.create(name)
        await self.upload(prefix)
        return prefix

    async def delete(self, prefix: ArtifactPrefix) -> None:
        await self.client.delete(EVALUATIONS, prefix.name, uid=prefix.uid)

    async def gone(self, name: str) -> ArtifactPrefix:
        """One that has run, and was deleted."""
        prefix = await self.evaluation(name)
        await self.delete(prefix)
        return prefix

    async def files(self, prefix: ArtifactPrefix) -> int:
        return len([entry async for entry in self.store.list(prefix.evaluation)])

    async def sweep_twice(self) -> None:
        """With the grace between."""
        await self.sweeper.sweep()
        self.clock.now += GRACE
        await self.sweeper.sweep()


@pytest.fixture
def settings(s3_server: S3Server) -> StoreSettings:
    return replace(StoreSettings.from_environment(s3_server.environment()), retry_seconds=0.5)


@pytest.fixture
def here(client: transport.Transport, settings: StoreSettings) -> Installation:
    return Installation(client, ObjectStore(settings))


@pytest.fixture
async def neighbour(kubectl: Kubectl, kubeconfig: str, crd: None) -> AsyncIterator[transport.Transport]:
    """A client in a second namespace."""
    name = namespaces.create_namespace(kubectl)
    connected = await transport.connect(namespace=name, kubeconfig=kubeconfig)
    yield connected
    await connected.close()
    kubectl("delete", "namespace", name, "--wait=false")


async def test_files_go_when_their_evaluation_has_been_gone_for_the_grace(here: Installation) -> None:
    lives, gone = await here.evaluation("lives"), await here.gone("gone")
    await here.sweeper.sweep()
    here.clock.now += GRACE - 1
    await here.sweeper.sweep()
    assert await here.files(gone) == len(FILES)
    here.clock.now += 1
    await here.sweeper.sweep()
    assert (await here.files(gone), await here.files(lives)) == (0, len(FILES))
    assert here.sweeper.state is Sweeping.DONE
    await here.sweep_twice()
    assert await here.files(lives) == len(FILES)


async def test_the_namesake_of_one_that_is_gone_keeps_its_files(here: Installation) -> None:
    first = await here.gone("a")
    second = await here.evaluation("a")
    await here.sweep_twice()
    assert (await here.files(first), await here.files(second)) == (0, len(FILES))


async def test_what_is_no_evaluations_is_not_touched(here: Installation) -> None:
    gone = await here.gone("gone")
    theirs = [
        "top",
        "elsewhere/x-0f4c6a1e/a1/results.json",
        f"{gone.namespace}/catalogue/a1/tasks.json",
        f"{gone.namespace}/note",
        f"{gone.evaluation}note",
        f"{gone.evaluation}a1x/note",
        f"{gone.evaluation}b-0f4c6a1e/a1/results.json",
    ]
    for key in theirs:
        await here.store.put(key, b"1")
    await here.sweep_twice()
    assert not await here.store.exists(gone.file(FILES[0]))
    assert [key for key in theirs if not await here.store.exists(key)] == []


async def test_catalogues_of_images_that_are_not_in_use_go_after_the_grace(here: Installation) -> None:
    old, used = (f"{here.client.namespace}/{layout.catalogue_file(image)}" for image in ("01", "02"))
    for key in (old, used):
        await here.store.put(key, b"{}")
    sweeper = here.replica(settings=SweepSettings(grace=GRACE, catalogue=layout.catalogue_file("02")))
    await sweeper.sweep()
    assert await here.store.exists(old)
    here.clock.now += GRACE
    await sweeper.sweep()
    assert (await here.store.exists(old), await here.store.exists(used)) == (False, True)


async def test_at_rest_nothing_is_written(here: Installation, s3_server: S3Server) -> None:
    await here.evaluation("lives")
    await here.gone("gone")
    await here.sweeper.sweep()
    seen = {entry.key: entry.modified async for entry in here.store.list(here.client.namespace)}
    await asyncio.sleep(1.1)
    here.clock.now += 10
    await here.sweeper.sweep()
    assert {entry.key: entry.modified async for entry in here.store.list(here.client.namespace)} == seen


@pytest.mark.parametrize("nested", [False, True], ids=["one URL", "one below the other"])
async def test_two_installations_on_one_bucket(
    here: Installation, neighbour: transport.Transport, settings: StoreSettings, nested: bool
) -> None:
    url = f"{settings.url}/{here.client.namespace}" if nested else settings.url
    there = Installation(neighbour, ObjectStore(replace(settings, url=url)))
    for each in (here, there):
        await each.sweeper.sweep()
    kept = [(each, await each.evaluation("lives")) for each in (here, there)]
    gone = [(each, await each.gone("gone")) for each in (here, there)]

    await here.sweep_twice()
    assert [await each.files(prefix) for each, prefix in gone] == [0, len(FILES)]
    await there.sweep_twice()
    await here.sweep_twice()
    assert [await each.files(prefix) for each, prefix in gone] == [0, 0]
    assert [await each.files(prefix) for each, prefix in kept] == [len(FILES)] * 2
    assert [each.sweeper.state for each in (here, there)] == [Sweeping.DONE] * 2


class Clone:
    """A client of another cluster that has a namespace of the same name, and nothing in it."""

    def __init__(self, client: KubeClient) -> None:
        self.namespace = client.namespace

    async def get(self, resource: Resource, name: str) -> Object:
        assert (resource, name) == (NAMESPACES, self.namespace)
        return {"metadata": {"name": name, "uid": "11111111-2222-3333-4444-555555555555"}}

    async def pages(self, resource: Resource) -> AsyncIterator[ObjectList]:
        yield ObjectList([], "1")


@pytest.mark.parametrize("second_comes_late", [False, True])
async def test_two_clusters_with_one_namespace_name_and_one_url_delete_nothing(
    here: Installation, second_comes_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gone, lives = await here.gone("gone"), await here.evaluation("lives")
    elsewhere = here.replica(client=Clone(here.client))
    for sweeper in (here.sweeper, elsewhere) if second_comes_late else (elsewhere, here.sweeper):
        await sweeper.sweep()
    for _ in range(3):
        here.clock.now += GRACE
        await here.sweeper.sweep()
        await elsewhere.sweep()
    assert (await here.files(gone), await here.files(lives)) == (len(FILES), len(FILES))
    assert here.sweeper.state is elsewhere.state is Sweeping.SHARED
    said = [record for record in caplog.records if "another installation" in record.getMessage()]
    assert len(said) == 2

    # Somebody says that the other one is gone; what it may have left has the whole grace from now on.
    other = layout.owner_file("11111111-2222-3333-4444-555555555555")
    await here.store.delete([f"{here.client.namespace}/{other}"])
    await here.sweeper.sweep()
    assert (here.sweeper.state, await here.files(gone)) == (Sweeping.DONE, len(FILES))
    here.clock.now += GRACE
    await here.sweeper.sweep()
    assert (await here.files(gone), await here.files(lives)) == (0, len(FILES))


async def test_a_namespace_that_was_made_anew_is_another_installation(here: Installation, kubectl: Kubectl) -> None:
    gone = await here.gone("gone")
    await here.sweeper.sweep()
    kubectl("delete", "namespace", here.client.namespace, "--wait=true", "--timeout=60s")
    namespaces.create_namespace(kubectl, here.client.namespace)
    await here.sweep_twice()
    assert (here.sweeper.state, await here.files(gone)) == (Sweeping.SHARED, len(FILES))


async def test_who_does_not_delete_says_that_he_is_there(here: Installation) -> None:
    gone = await here.gone("gone")
    here.sweeper = here.replica(settings=SweepSettings(deletes=False, grace=GRACE))
    await here.sweep_twice()
    assert (here.sweeper.state, await here.files(gone)) == (Sweeping.OFF, len(FILES))
    elsewhere = here.replica(client=Clone(here.client))
    await elsewhere.sweep()
    assert elsewhere.state is Sweeping.SHARED


class Between(ObjectStore):
    """A store in which something happens just before and just after its folder is listed."""

    def __init__(self, settings: StoreSettings, then: Callable[[], Awaitable[object]]) -> None:
        super().__init__(settings)
        self._then = then

    async def folder(self, prefix: str) -> Folder:
        await self._then()
        found = await super().folder(prefix)
        await self._then()
        return found


async def test_what_is_created_during_a_sweep_stays(here: Installation, settings: StoreSettings) -> None:
    made: list[ArtifactPrefix] = []

    async def create() -> None:
        made.append(await here.evaluation(f"e-{len(made)}"))

    sweeper = here.replica(store=Between(settings, create), settings=SweepSettings(grace=0))
    for _ in range(4):
        await sweeper.sweep()
    assert [await here.files(prefix) for prefix in made] == [len(FILES)] * 8


async def test_replicas_that_sweep_without_grace_while_everything_moves(here: Installation) -> None:
    """The hardest case: no grace protects anybody, only the order of the two lists does."""
    replicas = [here.replica(settings=SweepSettings(grace=0)) for _ in range(2)]
    living: set[ArtifactPrefix] = set()
    chance, number = random.Random(7), itertools.count()
    done = asyncio.Event()

    async def move() -> None:
        for _ in range(60):
            if living and chance.random() < 0.4:
                prefix = chance.choice(sorted(living))
                living.discard(prefix)
                await here.delete(prefix)
            else:
                living.add(await here.evaluation(f"e-{next(number)}"))
        done.set()

    async def sweep(sweeper: Sweeper) -> None:
        while not done.is_set():
            await sweeper.sweep()

    await asyncio.gather(move(), *map(sweep, replicas))
    assert {prefix: await here.files(prefix) for prefix in living} == dict.fromkeys(living, len(FILES))
    await replicas[0].sweep()
    assert len((await here.store.folder(here.client.namespace)).folders) == len(living)


async def test_uploads_that_come_late_are_found_too(here: Installation) -> None:
    gone = await here.gone("gone")
    await here.sweep_twice()
    await here.upload(gone)
    await here.sweep_twice()
    await here.sweep_twice()
    assert await here.files(gone) == 0


async def test_what_is_remembered_may_be_broken(here: Installation) -> None:
    gone = await here.gone("gone")
    await here.sweeper.sweep()
    for content in (b"{", b"[]", b'{"a": "b"}', b'{"a": NaN}', b""):
        await here.store.put(f"{gone.namespace}/{layout.ORPHANS_FILE}", content)
        here.clock.now += GRACE
        await here.sweeper.sweep()
        assert await here.files(gone) == len(FILES)
    here.clock.now += GRACE
    await here.sweeper.sweep()
    assert await here.files(gone) == 0


class Broken:
    """A client whose list breaks off after its first page."""

    def __init__(self, client: KubeClient, error: errors.KubeError) -> None:
        self._client = client
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def pages(self, resource: Resource) -> AsyncIterator[ObjectList]:
        yield ObjectList([], "1")
        raise self._error


@pytest.mark.parametrize("error", [errors.Gone("too old"), errors.Throttled("slow down"), errors.Unavailable("away")])
async def test_a_list_that_breaks_off_ends_the_sweep(here: Installation, error: errors.KubeError) -> None:
    lives = await here.evaluation("lives")
    with pytest.raises(errors.KubeError):
        await here.replica(client=Broken(here.client, error), settings=SweepSettings(grace=0)).sweep()
    assert await here.files(lives) == len(FILES)
    assert not await here.store.exists(f"{lives.namespace}/{layout.ORPHANS_FILE}")


async def test_an_api_server_or_a_store_that_is_away_does_no_harm(
    here: Installation, s3_server: S3Server, kubeconfig: str, tmp_path: Path
) -> None:
    lives, gone = await here.evaluation("lives"), await here.gone("gone")
    await here.sweeper.sweep()
    here.clock.now += GRACE
    async with open_proxy(kubeconfig, tmp_path) as (between, through):
        far = await transport.connect(namespace=here.client.namespace, kubeconfig=through)
        for mode in ("500", "cut"):
            between.mode = mode
            with pytest.raises(errors.KubeError):
                await here.replica(client=far).sweep()
        await far.close()
    s3_server.stop()
    with pytest.raises(StoreError):
        await here.sweeper.sweep()
    s3_server.start()
    assert (await here.files(lives), await here.files(gone)) == (len(FILES), len(FILES))
    await here.sweeper.sweep()
    assert (await here.files(lives), await here.files(gone)) == (len(FILES), 0)


class Stubborn(ObjectStore):
    """A store that fails at some deletes."""

    def __init__(self, settings: StoreSettings, fails: Iterator[StoreError | None]) -> None:
        super().__init__(settings)
        self._fails = fails

    async def delete(self, keys: Any) -> None:
        error = next(self._fails, None)
        if error is not None:
            await super().delete(keys[:1])
            raise error
        await super().delete(keys)


async def test_a_sweep_that_breaks_half_way_is_carried_on(here: Installation, settings: StoreSettings) -> None:
    gone = [await here.gone(name) for name in "abc"]
    await here.sweeper.sweep()
    here.clock.now += GRACE
    away = here.replica(store=Stubborn(settings, iter([None, Unreachable("away")])))
    with pytest.raises(Unreachable):
        await away.sweep()
    assert [await here.files(prefix) for prefix in gone] == [0, len(FILES) - 1, len(FILES)]
    await here.sweeper.sweep()
    assert [await here.files(prefix) for prefix in gone] == [0, 0, 0]


async def complete(here: Installation, prefix: ArtifactPrefix) -> None:
    """Say of an evaluation that its first attempt has ended, as operator and reporter do."""
    for phase in ("Running", "Completed"):
        status = {"phase": phase, "attempt": 1} if phase == "Running" else {"phase": phase, "reason": "Succeeded"}
        patch: list[Any] = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
        await here.client.json_patch(EVALUATIONS, prefix.name, patch, subresource="status")


async def test_media_go_when_no_evaluation_shows_them(here: Installation) -> None:
    """And as the rest, not before the grace has passed, nor where another installation uses the folder."""
    lives, gone = await here.evaluation("lives"), await here.evaluation("gone")
    shown = {prefix: make_digest(prefix.name.encode()) for prefix in (lives, gone)}
    both = make_digest(b"both")
    for digest in (*shown.values(), both):
        await here.store.put(layout.media_object(here.client.namespace, digest), b"1")
    for prefix, digest in shown.items():
        content = b"".join(map(bytes.fromhex, sorted([digest, both])))
        await here.store.put(prefix.file(layout.MEDIA_DIGESTS), content)
        await complete(here, prefix)
    await here.delete(gone)

    async def list_kept() -> set[str]:
        pool = f"{here.client.namespace}/{layout.MEDIA_POOL}"
        return {item.key.rpartition("/")[2] async for item in here.store.list(pool)}

    everything = {*shown.values(), both}
    here.clock.now = time.time()
    await here.sweeper.sweep()
    assert await list_kept() == everything
    here.clock.now += 2 * GRACE
    elsewhere = f"{here.client.namespace}/{layout.owner_file('11111111-2222-3333-4444-555555555555')}"
    await here.store.put(elsewhere, b"")
    await here.sweeper.sweep()
    assert await list_kept() == everything
    await here.store.delete([elsewhere])
    await here.replica(settings=SweepSettings(deletes=False, grace=GRACE)).sweep()
    assert await list_kept() == everything
    await here.sweeper.sweep()
    assert await list_kept() == {shown[lives], both}


async def test_a_folder_that_is_locked_does_not_keep_the_others(here: Installation, settings: StoreSettings) -> None:
    gone = [await here.gone(name) for name in "abc"]
    await here.sweeper.sweep()
    here.clock.now += GRACE
    with pytest.raises(Denied):
        await here.replica(store=Stubborn(settings, iter([Denied("locked")]))).sweep()
    assert [await here.files(prefix) for prefix in gone] == [len(FILES) - 1, 0, 0]
