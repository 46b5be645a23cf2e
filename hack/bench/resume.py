"""What the journal of a run costs, in the evaluator image, in the reporter and in the front end, what going on by it
takes, and what is lost with a process and with a node: on a control plane without a node.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import deployment
from deployment import CommandFailed
from image_container import Container, Mount

from bench import live_answers, lost_node
from bench.rows import Row
from bench.s3_server import run_s3_server
from bench.scale import start_own_cluster

TOOLS, MOUNTED = Path(__file__).parents[1], "/bench"
# Behind what the image has: none of our names is to hide another one.
SCRIPT = f"import sys; sys.path.append({MOUNTED!r}); from bench.inside_resume import main; main()"
CONTAINER = "lmms-eval-bench-resume"
SHARE, MICROSECONDS, RESUME_SECONDS = 1.0, 60.0, 2.0
# The limit that the chart gives to the reporter.
STORED_ANSWERS, REPORTER_MIB = 1_000_000, 512.0


def measure() -> list[Row]:
    """Runs the script in the image of this checkout."""
    deployment.program("images", "build", "evaluator")
    image = json.loads(deployment.IMAGES.read_text())["evaluator"]
    container = Container(CONTAINER, image, mounts=[Mount(TOOLS, MOUNTED)])
    done = container.run(["python", "-c", SCRIPT], stdout=subprocess.PIPE)
    if done.returncode:
        raise CommandFailed("the runs in the evaluator image failed; their own message is above")
    return [*rows(json.loads(done.stdout.splitlines()[-1])), _measure_reporter(), *measure_servers()]


def measure_servers() -> list[Row]:
    """What needs an API server and an S3 server."""
    with start_own_cluster() as kubectl, tempfile.TemporaryDirectory() as folder, run_s3_server(Path(folder)) as store:
        return [
            *asyncio.run(lost_node.measure(kubectl, store)),
            *asyncio.run(live_answers.measure(kubectl, store)),
        ]


def _measure_reporter() -> Row:
    command = [sys.executable, "-m", "bench.journal_memory", str(STORED_ANSWERS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CommandFailed("storing a long journal failed; its own message is above")
    name = f"reporter, peak memory with a journal of {STORED_ANSWERS:,} answers"
    return Row(name, float(done.stdout), "MiB", REPORTER_MIB, "stored, and brought to the next attempt")


def rows(found: dict[str, Any]) -> list[Row]:
    """What the script has printed, as rows."""
    return [
        *_rows_of_slow_answers(found["slow"]),
        *_rows_of_quick_answers(found["quick"]),
        _row_of_single_chunks(found["single"]),
        _row_of_batches(**found["batches"]),
        *_rows_of_kills(found["kills"]),
        *(row for name, costs in found["media"].items() for row in _rows_of_media(name, costs)),
    ]


def _rows_of_media(name: str, found: dict[str, float]) -> list[Row]:
    stored = f"{found['bytes'] / 1000:.0f} kB stored"
    return [
        Row(f"media, a {name}: processor time on the adapter's thread", found["own"], "ms"),
        Row(f"media, a {name}: processor time in all", found["all"], "ms", floor=stored),
    ]


def _rows_of_slow_answers(found: dict[str, Any]) -> list[Row]:
    plain, journaled = _least(found, "plain", "seconds"), _least(found, "journaled", "seconds")
    took = f"{found['answers']} answers in {journaled:.2f} s, without it {plain:.2f} s"
    milliseconds = 1000 * found["answerSeconds"]
    return [
        Row(f"journal, of a run at {milliseconds:.0f} ms an answer", 100 * (journaled / plain - 1), "%", SHARE, took)
    ]


def _rows_of_quick_answers(found: dict[str, Any]) -> list[Row]:
    answers = found["answers"]
    opening = f"of which {found['resumed']['opening']:.2f} s to read them and to compare the runs"
    return [
        Row("journal, processor time for an answer in long chunks", _microseconds(found), "µs", MICROSECONDS),
        Row("journal, opened in", _least(found, "journaled", "opening"), "s"),
        Row("journal, of an answer", found["journalBytes"] / answers, "bytes"),
        Row(
            f"resume of {answers:,} answers, beyond the start",
            found["resumed"]["seconds"],
            "s",
            RESUME_SECONDS,
            opening,
        ),
    ]


def _row_of_single_chunks(found: dict[str, Any]) -> Row:
    """At any speed the journal may cost its share of the answer at most."""
    name = "journal, processor time for an answer that is a chunk"
    return Row(name, _microseconds(found), "µs", SHARE / 100 * 1e6 * found["answerSeconds"])


def _row_of_batches(plain: list[int], journaled: list[int]) -> Row:
    """Not one may be smaller, of as many: an engine would run dry, and its digits might be others."""
    differing = sum(one != other for one, other in itertools.zip_longest(plain, journaled))
    floor = f"{len(plain)} of up to {max(plain)} requests"
    return Row("journal, batches of lmms-eval's vLLM adapter that differ", differing, "", 0.0, floor)


def _rows_of_kills(kills: list[dict[str, float]]) -> list[Row]:
    """A chunk is what is lost at most: all that the process had been asked for at once."""
    shares = [100 * (kill["computed"] - kill["kept"]) / kill["chunk"] for kill in kills]
    lost = max(kill["computed"] - kill["kept"] for kill in kills)
    seconds = max(kill["seconds"] for kill in kills)
    name = f"process killed, {len(kills)} times: lost of the chunk that ran, at most"
    return [
        Row(name, max(shares), "%", 100.0, f"{lost:.0f} answers at most"),
        Row("process killed: time since the last answer that is kept, at most", seconds, "s"),
    ]


def _microseconds(found: dict[str, Any]) -> float:
    """Of processor time for an answer, without what comes once."""
    once = _least(found, "journaled", "opening_cpu")
    more = _least(found, "journaled", "cpu") - once - _least(found, "plain", "cpu")
    return 1e6 * more / float(found["answers"])


def _least(found: dict[str, Any], kind: str, measured: str) -> float:
    """Of all rounds: what else the machine does only adds."""
    return min(float(pair[kind][measured]) for pair in found["rounds"])
