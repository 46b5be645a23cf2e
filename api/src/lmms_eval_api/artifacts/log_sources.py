"""Where the log of an attempt is read: from the node of its pod while that exists, from the store when it has ended.

The runner writes the same bytes to both, with marks from which a reader knows its offset in what is kept of a long log
(`lmms_eval_core.log_marks`): a node keeps the last 10 MiB, the store the last 64 MiB.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.responses import prepend
from lmms_eval_core import layout, names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import PODS, KubeClient, Object
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.log_marks import FIRST, MARK_WITHIN, PREFIX, find_offset
from lmms_eval_core.store.errors import ObjectMissing

BEGINNING: Final = (PREFIX + FIRST).encode()

LogContent = AsyncGenerator[bytes, None]


class LogSource(NamedTuple):
    """A log. `start` is the offset of its first byte, if known; `is_final` if nothing will be added to it."""

    content: LogContent
    start: int | None
    is_final: bool


async def open_stored_log(samples: SampleReader, prefix: ArtifactPrefix) -> LogSource | None:
    """Return what was stored of the attempt, None if nothing was. Raises StoreError."""
    content = samples.stream_content(prefix.file(layout.LOG_FILE))
    try:
        head = await _read_head(content, enough=lambda text: text.startswith(BEGINNING) or len(text) >= MARK_WITHIN)
    except ObjectMissing:
        return None
    return LogSource(prepend(head, content), find_offset(head), is_final=True)


class PodLogs:
    """The logs that nodes have. Every method raises KubeError."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def open(self, prefix: ArtifactPrefix, *, follow: bool, tail: int | None) -> LogSource | None:
        """Return the log of the attempt's pod; None if there is no pod, or its container has not started."""
        pod = await self._find_pod(prefix)
        if pod is None:
            return None
        name = pod["metadata"]["name"]
        content = self._stream(name, follow=follow, tail=tail)
        try:
            head = await _read_head(content, enough=lambda text: len(text) >= (len(BEGINNING) if tail is None else 1))
            if tail is None and not head.startswith(BEGINNING) and await self._has_mark(name):
                head += await _read_head(content, enough=lambda text: find_offset(head + text) is not None)
        except (errors.NotFound, errors.Invalid):
            return None
        return LogSource(prepend(head, content), find_offset(head) if tail is None else None, _has_ended(pod))

    async def _find_pod(self, prefix: ArtifactPrefix) -> Object | None:
        selector = f"{names.LABEL_EVALUATION_UID}={prefix.uid},{names.LABEL_ATTEMPT}={prefix.attempt}"
        pods = (await self._client.list(PODS, label_selector=selector)).items
        return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)

    async def _has_mark(self, name: str) -> bool:
        """Whether the log has a mark now. A follower might wait long for the next mark of a log that lost its start."""
        async with aclosing(self._stream(name, follow=False, tail=None)) as content:
            return find_offset(await _read_head(content, enough=lambda text: len(text) >= MARK_WITHIN)) is not None

    async def _stream(self, name: str, *, follow: bool, tail: int | None) -> LogContent:
        stream = self._client.pod_log_stream(name, container=names.EVALUATOR_CONTAINER, follow=follow, tail_lines=tail)
        async for piece in stream:
            yield piece


async def _read_head(content: LogContent, *, enough: Callable[[bytes], bool]) -> bytes:
    head = b""
    while not enough(head) and (piece := await anext(content, None)) is not None:
        head += piece
    return head


def _has_ended(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    states = [status.get("state", {}) for status in statuses if status["name"] == names.EVALUATOR_CONTAINER]
    return any("terminated" in state for state in states)
