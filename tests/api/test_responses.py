"""Bodies that are put together from parts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from lmms_eval_api import responses
from lmms_eval_api.responses import PartsResponse, cut_slices, intersperse


async def sent(response: PartsResponse) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    scope: dict[str, Any] = {"type": "http"}
    await response(scope, receive, send)
    return messages


@pytest.fixture(autouse=True)
def of_four_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "SLICE_BYTES", 4)


@pytest.mark.parametrize("content", [[], [b""], [b"a", b"bc"], [b"abcd"], [b"abcdefghij", b"", b"k"]])
async def test_the_body_is_the_parts(content: list[bytes]) -> None:
    start, *bodies = await sent(PartsResponse(content, media_type="application/json", headers={"Age": "0"}))
    whole = b"".join(content)
    assert {(b"content-length", b"%d" % len(whole)), (b"age", b"0"), (b"content-type", b"application/json")} == {
        *start["headers"]
    }
    assert b"".join(message["body"] for message in bodies) == whole
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]


def test_items_are_separated() -> None:
    assert (intersperse([], b","), intersperse([b"a"], b",")) == ([], [b"a"])
    assert intersperse([b"a", b"b"], b",") == [b"a", b",", b"b"]


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_slices_are_of_one_size(content: list[bytes]) -> None:
    found = list(cut_slices(content))
    assert b"".join(found) == b"".join(content)
    assert all(len(piece) == 4 for piece in found[:-1]) and all(found)
