"""The operator's process beside a queue of a hundred, a thousand and ten thousand, on a control plane without a node.

`make bench PARTS=scale` runs this part alone, and `python -m bench.scale SIZE` one size.
"""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import deployment
from deployment import ROOT, CommandFailed, Kubectl

from bench import population, rows
from bench.bare_hand_off import BareHandOff
from bench.measured_process import MeasuredProcess, run_operator
from bench.rows import Row, percentile
from bench.simulated_namespace import SLOT, SimulatedNamespace
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_operator.event_recorder import COMPONENT
from lmms_eval_operator.observe import NOT_ENDED

CLUSTER = "lmms-eval-bench"
SIZES = (100, 1_000, 10_000)
EARLY, HAND_OFFS, STAGED = 5, 50, 3
# A runner exits some time after its scores are published.
PUBLISHED_SECONDS = 0.2
REST_SECONDS = 60.0
# Events are written behind the moves that they tell of; only then are writes counted.
EVENTS_SECONDS = 2.0
QUIET = 0.05
# The Job controller replaces (PUT) a Job's status; the operator creates and patches.
WRITES = r'^apiserver_request_total\{code="20.",.*resource="(?:%s)".*verb="(?:POST|PATCH)".*\} (\d+)'


class ScaleBench:
    """Measures one size after the other on a control plane."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    async def measure(self, size: int) -> list[Row]:
        """All rows of one size."""
        async with self._namespace(f"bench-{size}") as queue, self._namespace(f"bench-{size}-bare") as bare:
            await population.fill(self._kubectl, queue.client, size)
            async with queue.watching(), bare.watching():
                return await self._measure_operator(size, queue, BareHandOff(bare))

    async def _measure_operator(self, size: int, queue: SimulatedNamespace, bare: BareHandOff) -> list[Row]:
        await bare.prepare()
        listing = await measure_bare_list(queue.client)
        log = ROOT / "build" / "bench" / f"operator-{size}.log"
        with run_operator(kubeconfig=self._kubectl.kubeconfig, namespace=queue.client.namespace, log=log) as process:
            line = QueueDriver(queue)
            await line.advance()
            first = await queue.claims.wait_for(SLOT) - process.began
            early = [await line.hand_off() for _ in range(EARLY)]
            await wait_until_quiet(process)
            settled = process.cpu_seconds()
            pairs = [(await line.hand_off(), await bare.hand_off()) for _ in range(HAND_OFFS)]
            writes, events = await self._count_writes(queue, line)
            await wait_until_quiet(process)
            rest, renewals = process.cpu_seconds(), self._read_writes("leases")
            await asyncio.sleep(REST_SECONDS)
            rest, renewals = process.cpu_seconds() - rest, self._read_writes("leases") - renewals
            return [
                Row(
                    f"{size} queued: operator start to first claim",
                    first,
                    "s",
                    5.0,
                    f"a bare list of them takes {listing:.2f} s",
                ),
                Row(f"{size} queued: slowest hand-off while it starts", max(early) * 1000, "ms"),
                Row(f"{size} queued: CPU until it is quiet", settled, "s"),
                *compare_hand_offs(size, [ours for ours, _ in pairs], [floor for _, floor in pairs]),
                Row(f"{size} queued: writes of an evaluation", writes, ""),
                Row(f"{size} queued: events of an evaluation", events, ""),
                Row(f"{size} queued: CPU at rest", rest, "s/min"),
                Row(f"{size} queued: Lease renewals at rest, the election's", renewals, "1/min"),
                Row(f"{size} queued: operator memory, highest", process.peak_mib(), "MiB", 250.0),
            ]

    async def _count_writes(self, queue: SimulatedNamespace, line: "QueueDriver") -> tuple[float, float]:
        """Writes and events of an evaluation that is seen in every stage."""
        await asyncio.sleep(EVENTS_SECONDS)
        before, events = (
            self._read_writes("lmmevaluations|jobs") + queue.swaps - queue.reports,
            await queue.count_events(COMPONENT),
        )
        for _ in range(STAGED):
            await queue.run_pod(line.current)
            await line.hand_off()
        await asyncio.sleep(EVENTS_SECONDS)
        after = self._read_writes("lmmevaluations|jobs") + queue.swaps - queue.reports
        return (after - before) / STAGED, (await queue.count_events(COMPONENT) - events) / STAGED

    def _read_writes(self, resources: str) -> int:
        """Creates and patches so far, by whomever."""
        return sum(map(int, re.findall(WRITES % resources, self._kubectl("get", "--raw", "/metrics"), re.M)))

    @contextlib.asynccontextmanager
    async def _namespace(self, name: str) -> AsyncIterator[SimulatedNamespace]:
        self._kubectl("create", "namespace", name)
        client = await transport.connect(namespace=name, kubeconfig=self._kubectl.kubeconfig)
        try:
            namespace = SimulatedNamespace(client)
            await namespace.prepare()
            yield namespace
        finally:
            await client.close()


class QueueDriver:
    """Hands the slot from evaluation to evaluation, in the order of the queue."""

    def __init__(self, queue: SimulatedNamespace) -> None:
        self._queue = queue
        self._started = 0
        self.current = ""

    async def advance(self) -> None:
        """Wait until the next one has started."""
        self._started += 1
        self.current = await self._queue.starts.wait_for_nth(self._started)

    async def hand_off(self) -> float:
        """Seconds from the end of the running one to the start of the next."""
        ended = self.current
        await self._queue.publish(ended)
        await asyncio.sleep(PUBLISHED_SECONDS)
        await self._queue.end_pod(ended)
        await self.advance()
        return await self._queue.starts.wait_for(self.current) - await self._queue.ends.wait_for(ended)


def compare_hand_offs(size: int, ours: Sequence[float], floor: Sequence[float]) -> list[Row]:
    """Hand-offs beside the same calls back to back."""
    return [
        Row(
            f"{size} queued: hand-off, {name} of {len(ours)}",
            percentile(ours, share) * 1000,
            "ms",
            2 * percentile(floor, share) * 1000,
            f"2 × the bare calls ({percentile(floor, share) * 1000:.0f} ms)",
        )
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


async def measure_bare_list(client: transport.Transport) -> float:
    """Seconds that a plain client takes to read those that have not ended, page by page; nobody can choose earlier."""
    began = time.monotonic()
    async for _ in client.pages(EVALUATIONS, field_selector=NOT_ENDED):
        pass
    return time.monotonic() - began


async def wait_until_quiet(process: MeasuredProcess) -> None:
    """Waits until the process has done what there was to do."""
    while True:
        before = process.cpu_seconds()
        await asyncio.sleep(1)
        if process.cpu_seconds() - before <= QUIET:
            return


def measure(sizes: Sequence[int] = SIZES) -> list[Row]:
    """All rows of this file, on a control plane of its own: what fills it is gone with it."""
    with start_own_cluster() as kubectl:
        return asyncio.run(_measure(ScaleBench(kubectl), sizes))


async def _measure(bench: ScaleBench, sizes: Sequence[int]) -> list[Row]:
    return [row for size in sizes for row in await bench.measure(size)]


@contextlib.contextmanager
def start_own_cluster() -> Iterator[Kubectl]:
    """A control plane that nobody else uses and nobody misses, for as long as the block lasts."""
    before = dict(os.environ)
    os.environ["LMMS_EVAL_CLUSTER"] = CLUSTER
    os.environ.pop("LMMS_EVAL_KUBECONFIG", None)
    try:
        deployment.program("cluster", "up", "--control-plane-only")
        yield deployment.kubectl(kubeconfig=deployment.cluster_answer("kubeconfig", "--control-plane-only"))
    finally:
        deployment.program("cluster", "down", "--control-plane-only")
        os.environ.clear()
        os.environ.update(before)


def main() -> int:
    """0 when every target holds."""
    measured = measure([int(size) for size in sys.argv[1:]] or SIZES)
    return rows.report(measured, ROOT / "build" / "bench-scale.json")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as failure:
        sys.exit(f"bench.scale: {failure}")
