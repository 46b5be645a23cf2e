"""Mode `proxy`: a proxy in front has people sign in, and says in headers who they are.

Whoever reaches the port can send headers. They count only together with a secret that proxy and front end share. What
people may do is as in mode `kubernetes`: the API server is asked about the user and the groups.
"""

import json
import re
from typing import Final

from starlette.types import Scope

from lmms_eval_api.auth.attributes import list_header_values
from lmms_eval_api.auth.authenticator import Caller
from lmms_eval_api.auth.tokens import TokenFiles
from lmms_eval_api.settings import ProxyHeaders

# Names that the cluster keeps for itself: none of them may come from a directory of people.
RESERVED: Final = "system:"
# The API server adds it to whoever has proved to be somebody.
AUTHENTICATED: Final = "system:authenticated"
NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
MAX_GROUPS: Final = 256


class TrustedProxy:
    """Reads callers from the headers of a proxy whose secret is in one of these files."""

    def __init__(self, secrets: TokenFiles, headers: ProxyHeaders) -> None:
        self._secrets = secrets
        self._secret_header, self._user_header, self._groups_header = (name.lower().encode() for name in headers)

    async def read_caller(self, scope: Scope) -> Caller | None:
        """Return whom the proxy names; None where it names nobody, or where the request is not the proxy's."""
        secrets = list_header_values(scope, self._secret_header)
        users = _decode(list_header_values(scope, self._user_header))
        if len(secrets) != 1 or len(users) != 1 or not _may_be_named(users[0]):
            return None
        if await self._secrets.identify(b"Bearer " + secrets[0]) is None:
            return None
        named = ",".join(_decode(list_header_values(scope, self._groups_header))).split(",")
        groups = sorted({name.strip() for name in named if _may_be_named(name.strip())})[:MAX_GROUPS]
        user = {"username": users[0], "groups": [*groups, AUTHENTICATED]}
        return Caller(users[0], json.dumps(user, sort_keys=True))


def _may_be_named(name: str) -> bool:
    return NAME.fullmatch(name) is not None and not name.startswith(RESERVED)


def _decode(values: list[bytes]) -> list[str]:
    return [value.decode(errors="replace").strip() for value in values]
