"""How stale the mirror may be, told from what a scripted API server does; test_kube.py mirrors a real one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, ObjectList, Resource, WatchEvent
from lmms_eval_core.kube.reflector import Reflector


class Names:
    """A mirror that keeps names."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def replace(self, items: list[str]) -> None:
        self.known = set(items)

    def update(self, item: str) -> None:
        self.known.add(item)

    def remove(self, item: str) -> None:
        self.known.discard(item)


class Script:
    """An API server that lists one object and then plays one act for each watch; the last one is for ever silence."""

    def __init__(self, *acts: list[WatchEvent] | errors.KubeError) -> None:
        self.acts: Iterator[list[WatchEvent] | errors.KubeError] = iter(acts)
        self.lists = 0
        self.silent = asyncio.Event()

    async def pages(self, resource: Resource, **selectors: Any) -> AsyncIterator[ObjectList]:
        self.lists += 1
        yield ObjectList([item(f"listed-{self.lists}")], str(100 * self.lists))

    async def watch(
        self, resource: Resource, *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        act = next(self.acts, None)
        if act is None:
            self.silent.set()
            await asyncio.Event().wait()
        if isinstance(act, errors.KubeError):
            raise act
        for event in act or []:
            yield event


def item(name: str, version: int = 1) -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def name(whole: Object) -> str:
    return str(whole["metadata"]["name"])


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def played(script: Script, clock: Clock, mirror: Names) -> tuple[Reflector[str], asyncio.Task[None]]:
    reflector = Reflector(cast(KubeClient, script), EVALUATIONS, mirror, name, clock=clock)
    running = asyncio.create_task(reflector.run())
    await script.silent.wait()
    return reflector, running


def test_nothing_is_known_before_the_first_list() -> None:
    reflector = Reflector(cast(KubeClient, None), EVALUATIONS, Names(), name)
    assert reflector.stale_for() == float("inf")


async def test_silence_of_a_watch_is_not_staleness() -> None:
    clock = Clock()
    reflector, running = await played(Script(), clock, Names())
    clock.now += 59
    assert (reflector.stale_for(), reflector.lost_for(), reflector.age()) == (0, 0, 59)
    running.cancel()


async def test_a_projection_is_all_that_the_mirror_sees_page_by_page() -> None:
    """What a page held is gone before the next one comes: the list never stands in memory whole."""
    log: list[str] = []

    class Pages(Script):
        async def pages(self, resource: Resource, **selectors: Any) -> AsyncIterator[ObjectList]:
            for letter in "ab":
                log.append(f"page {letter}")
                yield ObjectList([item(letter)], "100")

    def projection(whole: Object) -> str:
        log.append(f"kept {name(whole)}")
        return name(whole)

    mirror, script = Names(), Pages([WatchEvent("ADDED", item("c", 101)), WatchEvent("DELETED", item("a", 102))])
    running = asyncio.create_task(Reflector(cast(KubeClient, script), EVALUATIONS, mirror, projection).run())
    await script.silent.wait()
    assert log[:6] == ["page a", "kept a", "page b", "kept b", "kept c", "kept a"]
    assert mirror.known == {"a", "b"}
    running.cancel()


async def test_a_lost_watch_is_stale_since_the_last_word_and_lost_since_that_was_noticed() -> None:
    clock = Clock()
    lost = asyncio.Event()

    class Hole(Script):
        async def watch(self, resource: Resource, **selectors: str) -> AsyncIterator[WatchEvent]:
            yield WatchEvent("ADDED", item("a", 101))
            clock.now += 59
            raise errors.Unavailable("gone")

    reflector = Reflector(cast(KubeClient, Hole()), EVALUATIONS, Names(), name, clock=clock)
    assert reflector.lost_for() == float("inf")
    reflector.log = lambda message: lost.set()
    running = asyncio.create_task(reflector.run())
    await lost.wait()
    clock.now += 30
    assert (reflector.stale_for(), reflector.lost_for()) == (89, 30)
    running.cancel()


async def test_a_list_of_another_history_is_taken_for_what_it_is() -> None:
    """After a restore of the API server's storage, versions begin again where the backup was made."""

    class Restored(Script):
        async def pages(self, resource: Resource, **selectors: str) -> AsyncIterator[ObjectList]:
            self.lists += 1
            yield ObjectList([item("a")], {1: "500", 2: "500", 3: "90"}[self.lists])

    told: list[str] = []
    mirror, script = Names(), Restored(errors.Gone("too old"), errors.Gone("too old"))
    reflector = Reflector(cast(KubeClient, script), EVALUATIONS, mirror, name, restored=lambda: told.append("restored"))
    reflector.log = told.append
    running = asyncio.create_task(reflector.run())
    await script.silent.wait()
    assert (
        [line for line in told if "ended" not in line] == ["restored"]
        and reflector.knows(90)
        and not reflector.knows(91)
    )
    running.cancel()


async def test_every_further_failure_is_one_loss() -> None:
    clock, failures = Clock(), asyncio.Queue[str]()

    class Gone(Script):
        async def pages(self, resource: Resource, **selectors: Any) -> AsyncIterator[ObjectList]:
            if self.lists:
                raise errors.Unavailable("gone")
            async for page in super().pages(resource):
                yield page

    reflector = Reflector(cast(KubeClient, Gone(errors.Unavailable("gone"))), EVALUATIONS, Names(), name, clock=clock)
    reflector.log = failures.put_nowait
    running = asyncio.create_task(reflector.run())
    await failures.get()
    clock.now += 30
    await failures.get()
    assert reflector.lost_for() == 30
    running.cancel()


async def test_an_expired_version_lists_again_and_forgets_what_vanished() -> None:
    mirror = Names()
    added = WatchEvent("ADDED", item("added", 101))
    script = Script([added], errors.Gone("too old"))
    # The first watch ends at once, which counts as an error too; the third list is the one that stays.
    reflector, running = await played(script, Clock(), mirror)
    assert mirror.known == {f"listed-{script.lists}"}
    assert reflector.stale_for() == 0
    running.cancel()


async def test_a_reader_waits_until_the_mirror_has_been_told() -> None:
    mirror = Names()
    bookmark = WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "107"}})
    reflector = Reflector(
        cast(KubeClient, Script([WatchEvent("ADDED", item("a", 103)), bookmark])), EVALUATIONS, mirror, name
    )
    assert not await reflector.caught_up(100, timeout=0.01)
    waiting = [asyncio.create_task(reflector.caught_up(version, timeout=5)) for version in (0, 100, 103, 107)]
    never = asyncio.create_task(reflector.caught_up(10**9, timeout=0.05))
    running = asyncio.create_task(reflector.run())
    assert await asyncio.gather(*waiting) == [True] * 4
    assert "a" in mirror.known
    assert not await never
    running.cancel()
