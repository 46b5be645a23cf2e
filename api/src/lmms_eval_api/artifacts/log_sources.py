"""Where the log of an attempt can be had: from the node of its pod while that exists, from the store when it has ended.

The runner writes the same bytes to both, and marks from which a reader knows its place in what is left of a long log
(`lmms_eval_core.log_marks`): a node keeps the last 10 MiB, the store the last 64 MiB.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.samples import Samples
from lmms_eval_api.live import preceded
from lmms_eval_core import layout, names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import PODS, KubeClient, Object
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.log_marks import FIRST, MARK_WITHIN, PREFIX, find_offset
from lmms_eval_core.store.errors import ObjectMissing

BEGINNING: Final = (PREFIX + FIRST).encode()

Content = AsyncGenerator[bytes, None]


class Source(NamedTuple):
    """A log. `start` is the offset of its first byte if that can be told; `final` if nothing will be added to it."""

    content: Content
    start: int | None
    final: bool


async def from_store(samples: Samples, prefix: ArtifactPrefix) -> Source | None:
    """What was stored of the attempt, None if nothing was. Raises StoreError."""
    content = samples.content(prefix.file(layout.LOG_FILE))
    try:
        head = await _head(content, enough=lambda text: text.startswith(BEGINNING) or len(text) >= MARK_WITHIN)
    except ObjectMissing:
        return None
    return Source(preceded(head, content), find_offset(head), final=True)


class PodLogs:
    """The logs that nodes have. Every method raises KubeError."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def open(self, prefix: ArtifactPrefix, *, follow: bool, tail: int | None) -> Source | None:
        """The log of the attempt's pod; None if there is no pod, or its container has not started."""
        pod = await self._pod(prefix)
        if pod is None:
            return None
        name = pod["metadata"]["name"]
        content = self._stream(name, follow=follow, tail=tail)
        try:
            head = await _head(content, enough=lambda text: len(text) >= (len(BEGINNING) if tail is None else 1))
            if tail is None and not head.startswith(BEGINNING) and await self._has_mark(name):
                head += await _head(content, enough=lambda text: find_offset(head + text) is not None)
        except (errors.NotFound, errors.Invalid):
            return None
        return Source(preceded(head, content), find_offset(head) if tail is None else None, _has_ended(pod))

    async def _pod(self, prefix: ArtifactPrefix) -> Object | None:
        selector = f"{names.LABEL_EVALUATION_UID}={prefix.uid},{names.LABEL_ATTEMPT}={prefix.attempt}"
        pods = (await self._client.list(PODS, label_selector=selector)).items
        return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    async def _has_mark(self, name: str) -> bool:
        """Whether there is one now: who follows a log that has just lost its beginning might wait for the next one for long."""
        async with aclosing(self._stream(name, follow=False, tail=None)) as content:
            return find_offset(await _head(content, enough=lambda text: len(text) >= MARK_WITHIN)) is not None

    async def _stream(self, name: str, *, follow: bool, tail: int | None) -> Content:
        stream = self._client.pod_log_stream(name, container=names.EVALUATOR_CONTAINER, follow=follow, tail_lines=tail)
        async for piece in stream:
            yield piece


async def _head(content: Content, *, enough: Callable[[bytes], bool]) -> bytes:
    head = b""
    while not enough(head) and (piece := await anext(content, None)) is not None:
        head += piece
    return head


def _has_ended(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return any(status["name"] == names.EVALUATOR_CONTAINER and "terminated" in status.get("state", {}) for status in statuses)
