"""What the door asks of a mode of authentication: who calls, and whether that caller may do what is asked for."""

from typing import NamedTuple, Protocol

from lmms_eval_api.auth.attributes import Wish


class Caller(NamedTuple):
    """Who calls. `user` is what the API server said of them, as JSON, in the mode that asks it."""

    name: str
    user: str = ""


class Authenticator(Protocol):
    """One mode. Its methods raise `errors.KubeError` or an HTTPException where nobody can tell; then nobody comes in."""

    @property
    def how_to(self) -> str:
        """What a stranger should do, as a sentence."""

    async def caller(self, authorization: bytes) -> Caller | None:
        """Who has sent this Authorization header; None for a stranger."""

    async def refusal(self, caller: Caller, wish: Wish) -> str | None:
        """Why the caller may not do this and what to do about it, as a sentence; None for a caller who may."""
