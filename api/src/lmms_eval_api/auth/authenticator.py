"""The interface of an authentication mode: who calls, and whether that caller may do what the request asks for."""

from typing import NamedTuple, Protocol

from lmms_eval_api.auth.attributes import ResourceAttributes


class Caller(NamedTuple):
    """Who calls. `user` is what the API server said of them, as JSON, in the mode that asks it."""

    name: str
    user: str = ""


class TokenSource(NamedTuple):
    """Where a person gets a token: a sentence, and the command that prints one."""

    sentence: str
    command: str


class Authenticator(Protocol):
    """One mode. Its methods raise `errors.KubeError` or HTTPException if they cannot decide; access is then denied."""

    @property
    def instructions(self) -> str:
        """How to authenticate, as a sentence for an unknown caller."""

    @property
    def how_to_get_a_token(self) -> TokenSource:
        """How a person gets a token, for the page on which one signs in."""

    async def identify(self, authorization: bytes) -> Caller | None:
        """Return who sent this Authorization header; None for an unknown caller."""

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        """Return why the caller may not do this and how to change that, as a sentence; None if the caller may."""
