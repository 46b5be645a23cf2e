"""Reviews that are cached for a while."""

import asyncio

import pytest
from starlette.exceptions import HTTPException

from lmms_eval_api.auth import review_cache
from lmms_eval_api.auth.review_cache import ReviewCache

Reviews = ReviewCache[str, str | None]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """Answers by what `known` holds, and counts."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.times: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, kept: Reviews, key: str) -> str | None:
        return await kept.get(key, lambda: self._answer(key))

    async def _answer(self, key: str) -> str | None:
        self.times.append(key)
        await self.gate.wait()
        if key == "broken":
            raise ConnectionError
        return self.known.get(key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> Reviews:
    return ReviewCache(accepted=60, refused=5, clock=clock)


async def test_an_acceptance_counts_for_its_time_and_a_refusal_for_less(kept: Reviews, clock: Clock) -> None:
    asked = Asked()
    asked.known = {"a": "A"}
    for now, answers in ((0.0, ["a", "b"]), (4.9, []), (5.0, ["b"]), (59.9, ["b"]), (60.0, ["a"])):
        clock.now, asked.times = now, []
        assert [await asked.get(kept, key) for key in ("a", "b")] == ["A", None]
        assert asked.times == answers


async def test_an_answer_is_as_old_as_its_question(kept: Reviews, clock: Clock) -> None:
    asked = Asked()
    asked.known = {"a": "A"}
    asked.gate.clear()
    waiting = asyncio.create_task(asked.get(kept, "a"))
    await asyncio.sleep(0.01)
    clock.now = 59
    asked.gate.set()
    assert await waiting == "A"
    clock.now = 60
    del asked.known["a"]
    assert await asked.get(kept, "a") is None


async def test_many_who_ask_at_once_are_one_question_and_one_who_hangs_up_harms_nobody(
    kept: Reviews,
) -> None:
    asked = Asked()
    asked.known = {"a": "A"}
    asked.gate.clear()
    waiting = [asyncio.create_task(asked.get(kept, "a")) for _ in range(50)]
    await asyncio.sleep(0.01)
    waiting.pop().cancel()
    asked.gate.set()
    assert set(await asyncio.gather(*waiting)) == {"A"}
    assert asked.times == ["a"]


async def test_what_nobody_could_tell_is_asked_again(kept: Reviews) -> None:
    asked = Asked()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await asked.get(kept, "broken")
    assert asked.times == ["broken", "broken"]


async def test_a_flood_of_strangers_is_bounded_and_drives_no_known_caller_out(
    kept: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_cache, "MAX_ENTRIES", 10)
    monkeypatch.setattr(review_cache, "MAX_PENDING", 3)
    asked = Asked()
    asked.known = {"a": "A"}
    await asked.get(kept, "a")
    for number in range(100):
        await asked.get(kept, f"stranger {number}")
    asked.times.clear()
    assert await asked.get(kept, "a") == "A"
    assert [len(answers) for answers in kept._entries.values()] == [1, 10]

    asked.gate.clear()
    waiting = [asyncio.create_task(asked.get(kept, f"late {number}")) for number in range(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(HTTPException) as refused:
        await asked.get(kept, "one more")
    assert refused.value.status_code == 503
    assert await asked.get(kept, "a") == "A"
    asked.gate.set()
    await asyncio.gather(*waiting)
