"""Who calls: one `Authenticator` for each mode, and the middleware that asks it before anything else happens."""

from typing import Protocol

from lmms_eval_api.auth.tokens import TokenFiles
from lmms_eval_api.settings import AuthMode, Settings, SettingsError

ANONYMOUS = "anonymous"


class Authenticator(Protocol):
    """Decides from the Authorization header alone."""

    async def caller(self, authorization: bytes) -> str | None:
        """Name of the caller, for logs and annotations; None for a stranger."""


class Everybody:
    """Mode `none`."""

    async def caller(self, authorization: bytes) -> str | None:
        """Everybody may come in."""
        return ANONYMOUS


def authenticator(settings: Settings) -> Authenticator:
    """The one that the settings ask for; SettingsError if it could let nobody in."""
    if settings.auth is AuthMode.NONE:
        return Everybody()
    tokens = TokenFiles(settings.tokens)
    if not tokens.known:
        raise SettingsError(
            f"There is no token in {settings.tokens}: mount a Secret there with one token a key, or name another directory in "
            "LMMS_EVAL_API_TOKENS; LMMS_EVAL_API_AUTH=none lets everybody in"
        )
    return tokens
