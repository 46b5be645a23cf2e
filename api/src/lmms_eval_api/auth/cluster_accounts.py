"""Mode `kubernetes`: the cluster's own accounts and rights, asked for by TokenReview and SubjectAccessReview.

Reviews are cached (`review_cache`), refusals for a shorter time: a revoked token or right may still be of use for that
long. While the API server is away, only cached reviews count.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Final

from lmms_eval_api.auth.attributes import Wish
from lmms_eval_api.auth.authenticator import Caller
from lmms_eval_api.auth.credentials import secret_of
from lmms_eval_api.auth.review_cache import Memory
from lmms_eval_core import names
from lmms_eval_core.kube.client import KubeClient, Object, Resource

# Created to ask a question; the answer is in the status of what comes back, and nothing is stored.
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)
ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)
# A right that has just been given is waited for.
REFUSED_SECONDS: Final = 5.0
# Longer than any token of a service account; what a stranger sends is not all passed on.
MAX_TOKEN_BYTES: Final = 16 * 1024


class ClusterAccounts:
    """An `Authenticator`. Tokens are kept as digests."""

    def __init__(self, client: KubeClient, *, audience: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._audience = audience
        refused = min(seconds, REFUSED_SECONDS)
        self._callers: Memory[bytes, Caller | None] = Memory(accepted=seconds, refused=refused, clock=clock)
        self._rights: Memory[tuple[Caller, Wish], bool] = Memory(accepted=seconds, refused=refused, clock=clock)

    @property
    def how_to(self) -> str:
        """See `Authenticator`."""
        audience = f" --audience={self._audience}" if self._audience else ""
        return (
            f"Send a token of this cluster, as `kubectl create token ACCOUNT --namespace {self._client.namespace}{audience}` "
            "gives it: 'Authorization: Bearer TOKEN', or as the password of HTTP Basic (http://user:TOKEN@host)."
        )

    async def caller(self, authorization: bytes) -> Caller | None:
        """See `Authenticator`."""
        token = secret_of(authorization)
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            return None
        return await self._callers.get(hashlib.sha256(token).digest(), lambda: self._review(token.decode()))

    async def refusal(self, caller: Caller, wish: Wish) -> str | None:
        """See `Authenticator`. Most may do a thing with all evaluations or with none, so that is asked for first."""
        everywhere = wish._replace(name="")
        if await self._may(caller, everywhere) or (wish.name and await self._may(caller, wish)):
            return None
        namespace, resource = self._client.namespace, f"{names.PLURAL}.{names.GROUP}"
        return (
            f"{caller.name} may not {wish.verb} {resource} in namespace {namespace}: bind a Role to it, as by `kubectl create "
            f"role evaluations --verb={wish.verb} --resource={resource} -n {namespace}` and `kubectl create rolebinding`."
        )

    async def _review(self, token: str) -> Caller | None:
        spec = {"token": token, **({"audiences": [self._audience]} if self._audience else {})}
        status = (await self._client.create(TOKEN_REVIEWS, review("TokenReview", TOKEN_REVIEWS.group, spec)))["status"]
        # A server that knows nothing of audiences names none: its yes was meant for somebody else.
        meant = not self._audience or self._audience in (status.get("audiences") or ())
        if not (status.get("authenticated") and meant):
            return None
        return Caller(status["user"]["username"], json.dumps(status["user"], sort_keys=True))

    async def _may(self, caller: Caller, wish: Wish) -> bool:
        return await self._rights.get((caller, wish), lambda: self._ask(caller, wish))

    async def _ask(self, caller: Caller, wish: Wish) -> bool:
        attributes = {"namespace": self._client.namespace, "verb": wish.verb, "name": wish.name}
        attributes |= {"group": names.GROUP, "version": names.VERSION, "resource": names.PLURAL}
        user = json.loads(caller.user)
        spec = {"resourceAttributes": attributes, "user": user.pop("username"), **user}
        answer = await self._client.create(ACCESS_REVIEWS, review("SubjectAccessReview", ACCESS_REVIEWS.group, spec))
        return bool(answer["status"].get("allowed"))


def review(kind: str, group: str, spec: Object) -> Object:
    """The object that asks."""
    return {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
