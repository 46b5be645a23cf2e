import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mounted_secret import mount_secret

from lmms_eval_api import auth
from lmms_eval_api.auth import Caller
from lmms_eval_api.auth.tokens import TokenFiles, read_token
from lmms_eval_api.settings import ApiSettings, AuthMode, SettingsError


def basic(pair: str) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode())


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer  abc ", b"abc"),
        (basic("user:abc"), b"abc"),
        (basic(":abc"), b"abc"),
        (basic("user:a:b"), b"a:b"),
        (basic("no colon"), b""),
        (b"Basic not-base64", b""),
        (b"Digest abc", b""),
        (b"abc", b""),
        (b"Bearer", b""),
        (b"", b""),
    ],
)
def test_where_the_secret_is(header: bytes, secret: bytes) -> None:
    assert read_token(header) == secret


@given(st.binary())
def test_no_header_is_an_error(header: bytes) -> None:
    read_token(header)
    read_token(b"Basic " + header)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_caller_is_named_after_the_file(tmp_path: Path) -> None:
    mount_secret(tmp_path, ci="first\n", alice="second", empty=" \n")
    tokens = TokenFiles(tmp_path)
    assert tokens.names == {"ci", "alice"}
    assert await tokens.identify(b"Bearer first") == Caller("ci")
    assert await tokens.identify(basic("anybody:second")) == Caller("alice")
    for stranger in (b"", b"Bearer", b"Bearer firs", b"Bearer first2", b"Bearer ci", basic("first:")):
        assert await tokens.identify(stranger) is None


async def test_rotation_is_seen_within_a_second_and_costs_nothing_in_between(tmp_path: Path) -> None:
    clock = Clock()
    mount_secret(tmp_path, old="one")
    tokens = TokenFiles(tmp_path, clock=clock)
    mount_secret(tmp_path, old="one", new="two")
    assert await tokens.identify(b"Bearer two") is None
    clock.now = 1.0
    assert await tokens.identify(b"Bearer two") == Caller("new")
    assert await tokens.identify(b"Bearer one") == Caller("old")
    mount_secret(tmp_path, new="two")
    clock.now = 2.0
    assert await tokens.identify(b"Bearer one") is None


async def test_no_tokens_left_means_that_nobody_may_come_in(tmp_path: Path) -> None:
    clock = Clock()
    mount_secret(tmp_path, only="one")
    tokens = TokenFiles(tmp_path, clock=clock)
    mount_secret(tmp_path)
    clock.now = 1.0
    assert await tokens.identify(b"Bearer one") is None
    assert await tokens.identify(b"Bearer ") is None


def test_a_front_end_that_could_let_nobody_in_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no token in .*LMMS_EVAL_API_AUTH=none"):
        auth.make_authenticator(ApiSettings(tokens=tmp_path))
    with pytest.raises(SettingsError, match="no token in"):
        auth.make_authenticator(ApiSettings(tokens=tmp_path / "missing"))


async def test_letting_everybody_in_has_to_be_asked_for() -> None:
    everybody = auth.make_authenticator(ApiSettings(auth=AuthMode.NONE))
    assert await everybody.identify(b"") == Caller("anonymous")
