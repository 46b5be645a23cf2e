"""Who calls: one `Authenticator` for each mode, and the middleware that asks it before anything else happens."""

from lmms_eval_api.auth.attributes import Wish
from lmms_eval_api.auth.authenticator import Authenticator, Caller
from lmms_eval_api.auth.cluster_accounts import ClusterAccounts
from lmms_eval_api.auth.tokens import TokenFiles
from lmms_eval_api.settings import AuthMode, Settings, SettingsError
from lmms_eval_core.kube.client import KubeClient

__all__ = ["ANONYMOUS", "Authenticator", "Caller", "Everybody", "authenticator"]

ANONYMOUS = Caller("anonymous")


class Everybody:
    """Mode `none`."""

    how_to = "Nobody is asked for anything."

    async def caller(self, authorization: bytes) -> Caller | None:
        """Everybody may come in."""
        return ANONYMOUS

    async def refusal(self, caller: Caller, wish: Wish) -> str | None:
        """And do everything."""
        return None


def authenticator(settings: Settings, client: KubeClient | None = None) -> Authenticator:
    """The one that the settings ask for; SettingsError if it could let nobody in. Mode `kubernetes` asks by `client`."""
    if settings.auth is AuthMode.NONE:
        return Everybody()
    if settings.auth is AuthMode.KUBERNETES:
        assert client is not None
        return ClusterAccounts(client, audience=settings.auth_audience, seconds=settings.auth_cache_seconds)
    tokens = TokenFiles(settings.tokens)
    if not tokens.known:
        raise SettingsError(
            f"There is no token in {settings.tokens}: mount a Secret there with one token a key, or name another directory in "
            "LMMS_EVAL_API_TOKENS; LMMS_EVAL_API_AUTH=none lets everybody in"
        )
    return tokens
