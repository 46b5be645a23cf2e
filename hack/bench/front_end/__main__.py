"""All of it, by number of jobs: `python -m bench.front_end [SIZE ...] [--only PART ...]`."""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path

from deployment import ROOT, CommandFailed, Kubectl

from bench import population, rows
from bench.front_end import load, mixed, reads, servers, streams, submissions, tasks
from bench.front_end.reads import MeasuredServer
from bench.front_end.servers import BenchServer
from bench.rows import Row
from bench.scale import SIZES, start_own_cluster
from lmms_eval_core.kube import transport

FILLERS = 16
PARTS = ("reads", "streams", "mixed", "submissions", "tasks")
# Of the largest size.
READY_SECONDS, READY_MIB = 5.0, 190.0


def measure(sizes: Sequence[int] = SIZES, parts: Collection[str] = PARTS) -> list[Row]:
    """The rows of these parts, on a control plane of its own."""
    load.need_wrk()
    with start_own_cluster() as kubectl:
        return asyncio.run(_measure(kubectl, sizes, parts))


async def _measure(kubectl: Kubectl, sizes: Sequence[int], parts: Collection[str]) -> list[Row]:
    found: list[Row] = []
    for size in sizes:
        # The list of tasks and the long load: where there are the most jobs.
        chosen = set(parts) - (set() if size == max(sizes) else {"tasks"})
        async with _filled(kubectl, size) as client:
            found += await _of_one_size(kubectl, client, size, chosen, largest=size == max(sizes))
    return found + (reads.by_size(found, sizes) if "reads" in parts else [])


async def _of_one_size(
    kubectl: Kubectl, client: transport.Transport, size: int, parts: Collection[str], *, largest: bool
) -> list[Row]:
    with _ours(kubectl, client.namespace) as first:
        after_crd_change = first.ready_seconds
    with _ours(kubectl, client.namespace) as ours, servers.original() as original:
        ready = ours.process.resident_mib()
        await _submit(original, size)
        mine, theirs = await _queue(ours), await _queue(original)
        found = [
            # The API server forgets what it has read of a resource when its CRD changes, as it has just done.
            Row(f"{size} queued: front end, start to ready after a change of the CRD", after_crd_change, "s"),
            Row(
                f"{size} queued: front end, start to ready", ours.ready_seconds, "s", READY_SECONDS if largest else None
            ),
            Row(f"{size} queued: front end, memory when it is ready", ready, "MiB", READY_MIB if largest else None),
        ]
        if "reads" in parts:
            found += await asyncio.to_thread(
                reads.measure, size, MeasuredServer(ours, mine), MeasuredServer(original, theirs)
            )
        if "streams" in parts:
            found += await streams.measure(size, ours, mine)
        if "mixed" in parts:
            found += await mixed.measure(size, ours, mine, seconds=mixed.SECONDS if largest else mixed.SHORT_SECONDS)
        if "submissions" in parts:
            found += await submissions.measure(size, ours, original, client)
        if "tasks" in parts:
            found += await asyncio.to_thread(tasks.measure, ours)
        found.append(Row(f"{size} queued: front end, memory at its highest", ours.process.peak_mib(), "MiB"))
        rows.show(found)
        return found


@contextlib.contextmanager
def _ours(kubectl: Kubectl, namespace: str) -> Iterator[BenchServer]:
    with tempfile.TemporaryDirectory() as folder:
        store = tasks.store(Path(folder), namespace=namespace)
        with servers.ours(kubeconfig=kubectl.kubeconfig, namespace=namespace, **store) as ours:
            yield ours


@contextlib.asynccontextmanager
async def _filled(kubectl: Kubectl, size: int) -> AsyncIterator[transport.Transport]:
    """A namespace with so many that wait, and so many that have run."""
    name = f"bench-front-end-{size}"
    kubectl("create", "namespace", name)
    client = await transport.connect(namespace=name, kubeconfig=kubectl.kubeconfig)
    try:
        await population.fill(kubectl, client, size)
        yield client
    finally:
        await client.close()


async def _submit(server: BenchServer, size: int) -> None:
    """So many jobs, and one that runs."""
    async with server.client() as http:

        async def some() -> None:
            for _ in range(-(-(size + 1) // FILLERS)):
                (await http.post("/evaluate", json=submissions.BODY)).raise_for_status()

        await asyncio.gather(*(some() for _ in range(FILLERS)))


async def _queue(server: BenchServer) -> list[str]:
    async with server.client() as http:
        jobs: list[str] = (await http.get("/queue")).raise_for_status().json()["queued_jobs"]
        return jobs


def main() -> int:
    """0 when every target holds."""
    options = argparse.ArgumentParser(prog="python -m bench.front_end", description=__doc__)
    options.add_argument("sizes", metavar="SIZE", type=int, nargs="*", help=f"jobs that wait; {SIZES}")
    options.add_argument(
        "--only", metavar="PART", choices=PARTS, nargs="+", default=PARTS, help=f"of {', '.join(PARTS)}"
    )
    chosen = options.parse_args()
    measured = measure(chosen.sizes or SIZES, chosen.only)
    return rows.report(measured, ROOT / "build" / "bench-front-end.json")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as failure:
        sys.exit(f"bench.front_end: {failure}")
