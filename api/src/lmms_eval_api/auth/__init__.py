"""Who calls: one `Authenticator` for each mode, and the middleware that asks it before anything else happens."""

from lmms_eval_api.auth.attributes import ResourceAttributes
from lmms_eval_api.auth.authenticator import Authenticator, Caller, TokenSource
from lmms_eval_api.auth.cluster_accounts import ClusterAccounts
from lmms_eval_api.auth.tokens import TokenFiles
from lmms_eval_api.auth.trusted_proxy import TrustedProxy
from lmms_eval_api.settings import ApiSettings, AuthMode, SettingsError
from lmms_eval_core.kube.client import KubeClient

__all__ = [
    "ANONYMOUS",
    "AnonymousAccess",
    "Authenticator",
    "Caller",
    "TrustedProxy",
    "make_authenticator",
    "make_trusted_proxy",
]

ANONYMOUS = Caller("anonymous")


class AnonymousAccess:
    """The `Authenticator` of mode `none`."""

    instructions = "Nobody is asked for anything."
    how_to_get_a_token = TokenSource("No token is needed.", "")

    async def identify(self, authorization: bytes) -> Caller | None:
        """Return the anonymous caller, whatever was sent."""
        return ANONYMOUS

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        """Return None: everything is allowed."""
        return None


def make_trusted_proxy(settings: ApiSettings) -> TrustedProxy | None:
    """Return who names callers in mode `proxy`; None in every other mode.

    Raises SettingsError without a secret, as headers alone prove nothing.
    """
    if settings.auth is not AuthMode.PROXY:
        return None
    secrets = TokenFiles(settings.proxy_secrets)
    if not secrets.names:
        raise SettingsError(f"There is no secret of the proxy in {settings.proxy_secrets}: mount a Secret there")
    return TrustedProxy(secrets, settings.proxy_headers)


def make_authenticator(settings: ApiSettings, client: KubeClient | None = None) -> Authenticator:
    """Return the authenticator of the configured mode; modes `kubernetes` and `proxy` use `client`.

    Raises SettingsError in mode `token` without any token, as nobody could be let in.
    """
    if settings.auth is AuthMode.NONE:
        return AnonymousAccess()
    if settings.auth in (AuthMode.KUBERNETES, AuthMode.PROXY):
        assert client is not None
        return ClusterAccounts(client, audience=settings.auth_audience, seconds=settings.auth_cache_seconds)
    tokens = TokenFiles(settings.tokens, secret=settings.token_secret, namespace=settings.namespace)
    if not tokens.names:
        raise SettingsError(
            f"There is no token in {settings.tokens}: mount a Secret there with one token a key, or name another "
            f"directory "
            "in LMMS_EVAL_API_TOKENS; LMMS_EVAL_API_AUTH=none lets everybody in"
        )
    return tokens
