"""Mode `kubernetes`: the cluster's own accounts and rights, by TokenReview and SubjectAccessReview.

Reviews are cached (`review_cache`), refusals for a shorter time: a revoked token or right may still be of use for that
long. While the API server is away, only cached reviews count.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Final

from lmms_eval_api.auth.attributes import ResourceAttributes
from lmms_eval_api.auth.authenticator import Caller, TokenSource
from lmms_eval_api.auth.review_cache import ReviewCache
from lmms_eval_api.auth.tokens import read_token
from lmms_eval_core import names
from lmms_eval_core.kube.client import KubeClient, Object, Resource

# A review is created to ask a question. The answer is in the status of the response, and nothing is stored.
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)
ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)
# Short, as somebody may be waiting for a right that was just granted.
REFUSED_SECONDS: Final = 5.0
# Longer than any token of a service account. Anything longer is not passed on to the API server.
MAX_TOKEN_BYTES: Final = 16 * 1024


class ClusterAccounts:
    """An `Authenticator`. Keeps digests of tokens, never the tokens."""

    def __init__(
        self,
        client: KubeClient,
        *,
        audience: str,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._audience = audience
        refused = min(seconds, REFUSED_SECONDS)
        self._callers: ReviewCache[bytes, Caller | None] = ReviewCache(accepted=seconds, refused=refused, clock=clock)
        self._rights: ReviewCache[tuple[Caller, ResourceAttributes], bool] = ReviewCache(
            accepted=seconds, refused=refused, clock=clock
        )

    @property
    def instructions(self) -> str:
        """See `Authenticator`."""
        return (
            f"Send a token of this cluster, as `{self._command}` gives it: "
            "'Authorization: Bearer TOKEN', or as the password of HTTP Basic (http://user:TOKEN@host)."
        )

    @property
    def how_to_get_a_token(self) -> TokenSource:
        """See `Authenticator`."""
        return TokenSource("Use a token of an account of this cluster:", self._command)

    @property
    def _command(self) -> str:
        audience = f" --audience={self._audience}" if self._audience else ""
        return f"kubectl create token ACCOUNT --namespace {self._client.namespace}{audience}"

    async def identify(self, authorization: bytes) -> Caller | None:
        """See `Authenticator`."""
        token = read_token(authorization)
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            return None
        return await self._callers.get(hashlib.sha256(token).digest(), lambda: self._review_token(token.decode()))

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        """See `Authenticator`. Asks about all evaluations first, as most callers may access all of them or none."""
        everywhere = attributes._replace(name="")
        if await self._is_allowed(caller, everywhere):
            return None
        if attributes.name and await self._is_allowed(caller, attributes):
            return None
        namespace, resource = self._client.namespace, f"{names.PLURAL}.{names.GROUP}"
        return (
            f"{caller.name} may not {attributes.verb} {resource} in namespace {namespace}: bind a Role to it, as by "
            f"`kubectl create role evaluations --verb={attributes.verb} --resource={resource} -n {namespace}` and "
            "`kubectl create rolebinding`."
        )

    async def _review_token(self, token: str) -> Caller | None:
        spec = {"token": token, **({"audiences": [self._audience]} if self._audience else {})}
        review = make_review("TokenReview", TOKEN_REVIEWS.group, spec)
        status = (await self._client.create(TOKEN_REVIEWS, review))["status"]
        # A server that does not know audiences returns none: it did not check the token against ours.
        has_audience = not self._audience or self._audience in (status.get("audiences") or ())
        if not (status.get("authenticated") and has_audience):
            return None
        return Caller(status["user"]["username"], json.dumps(status["user"], sort_keys=True))

    async def _is_allowed(self, caller: Caller, attributes: ResourceAttributes) -> bool:
        return await self._rights.get((caller, attributes), lambda: self._review_access(caller, attributes))

    async def _review_access(self, caller: Caller, asked: ResourceAttributes) -> bool:
        attributes = {"namespace": self._client.namespace, "verb": asked.verb, "name": asked.name}
        attributes |= {"group": names.GROUP, "version": names.VERSION, "resource": names.PLURAL}
        user = json.loads(caller.user)
        spec = {"resourceAttributes": attributes, "user": user.pop("username"), **user}
        review = make_review("SubjectAccessReview", ACCESS_REVIEWS.group, spec)
        return bool((await self._client.create(ACCESS_REVIEWS, review))["status"].get("allowed"))


def make_review(kind: str, group: str, spec: Object) -> Object:
    """Return the object to create."""
    return {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
