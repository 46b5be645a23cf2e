"""Results, samples, logs and the catalogue, by client and command line, with a real object store behind
the front end.
"""

import asyncio
import csv
import hashlib
import io
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command_fixtures import CommandLine, Terminal
from deployment import ROOT
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from job_states import (
    DOUBT,
    LOG,
    PROGRESS,
    RESULTS,
    SAMPLES,
    SCORES,
    SUSPECT,
    UPDATED,
    complete_job,
    complete_with_files,
    set_status,
    start_job,
)
from journal_segments import build_chunk, build_header, name_segment, pack_segment
from provided import build_bare_environment
from s3_fixtures import S3Server
from stored_media import PNG

from lmms_eval_client import AsyncClient, Client, EvaluateRequest, Metric, NotFound, Results
from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_core.wire import Suspect
from lmms_eval_reporter.content import compressed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REQUEST = EvaluateRequest(model="llava_hf", tasks=["mme"], name="job")
IMAGE = "0123abcd"
CATALOGUE = {
    "tasks": [
        {"name": "mme", "kind": "task", "dataset": "lmms-lab/MME", "metrics": ["score"]},
        {"name": "mmmu_val", "kind": "task"},
    ],
    "models": [{"name": "llava_hf"}, {"name": "vllm", "unavailable": "vllm is not installed."}],
}
# test_client_table.py holds it to what lmms-eval prints.
TABLE = Results(RESULTS).table() + "\n"


class Place(NamedTuple):
    """A front end with a store behind it, and a job of the name `job`."""

    front_end: FrontEnd
    store: ObjectStore
    ours: Client
    command_line: CommandLine


@pytest.fixture
async def store(s3_server: S3Server, namespace: str) -> ObjectStore:
    found = ObjectStore(replace(StoreSettings.from_environment(s3_server.environment()), retry_seconds=0.5))
    await found.put(f"{namespace}/{layout.catalogue_file(IMAGE)}", json.dumps(CATALOGUE).encode())
    return found


@pytest.fixture
def place(store: ObjectStore, s3_server: S3Server, start_front_end: StartFrontEnd) -> Iterator[Place]:
    front_end = start_front_end(LMMS_EVAL_CATALOGUE=IMAGE, **s3_server.environment())
    front_end.wait_until_ready()
    lmmeval = CommandLine({**build_bare_environment(), "LMMS_EVAL_URL": front_end.url, "LMMS_EVAL_TOKEN": TOKEN})
    with Client(front_end.url, token=TOKEN) as ours:
        ours.submit(REQUEST)
        yield Place(front_end, store, ours, lmmeval)


async def test_what_a_run_left_behind_is_read(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job")
    place.ours.wait("job")
    results = place.ours.results("job")
    assert (results.output, results.scores["mme"]["score,none"]) == (RESULTS, Metric(value=0.5, stderr=None))
    assert list(place.ours.samples("job", "mme", page_size=3)) == SAMPLES
    assert [sample["doc_id"] for sample in place.ours.samples("job", "mme", only="wrong", page_size=2)] == [0, 2, 4, 6]
    assert "\n".join(place.ours.stream_logs("job")) + "\n" == LOG
    assert list(place.ours.stream_logs("job", attempt=1, follow=False, offset=len(LOG) - 8)) == ["line 99"]
    assert place.ours.log_tail("job", 2) == ["line 98", "line 99"]
    job = place.ours.job("job", samples=True)
    assert job.output == RESULTS and job.samples == {"mme": SAMPLES[:10]}
    with pytest.raises(NotFound, match="no samples of nope"):
        list(place.ours.samples("job", "nope"))


async def test_files_of_tasks_are_listed_and_fetched(
    place: Place, client: Transport, namespace: str, tmp_path: Path
) -> None:
    await complete_with_files(client, place.store, "job")
    uid = (await client.get(EVALUATIONS, "job"))["metadata"]["uid"]
    stored = ArtifactPrefix(namespace, "job", uid, 1).file(layout.task_file("output/submissions/test.json"))
    content = b'{"answers": []}' * 100_000
    await place.store.put(stored, b"".join(compressed([content])))
    (file,) = place.ours.files("job")
    assert file.path == "output/submissions/test.json"
    assert b"".join(place.ours.file("job", file.path)) == content
    async with AsyncClient(place.front_end.url, token=TOKEN) as ours:
        assert [found.path for found in await ours.files("job")] == [file.path]
        assert b"".join([piece async for piece in ours.file("job", file.path)]) == content
    with pytest.raises(NotFound, match="has no file nope"):
        list(place.ours.file("job", "nope"))

    assert file.path in place.command_line.answer("files", "job")
    folder = tmp_path / "fetched"
    folder.mkdir()
    target = folder / "test.json"
    done = place.command_line("files", "job", file.path, "-o", str(target))
    assert (done.returncode, target.read_bytes() == content) == (0, True)
    again = place.command_line("files", "job", file.path, "-o", str(target))
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    assert place.command_line("files", "job", "nope", "-o", str(folder / "nope")).returncode != 0
    assert os.listdir(folder) == ["test.json"]


async def test_media_of_a_sample_are_fetched(place: Place, client: Transport, namespace: str) -> None:
    await complete_with_files(client, place.store, "job")
    uid = (await client.get(EVALUATIONS, "job"))["metadata"]["uid"]
    content = PNG + os.urandom(2_000_000)
    digest = hashlib.sha256(content).hexdigest()
    await place.store.put(layout.media_object(namespace, digest), content)
    shown = ArtifactPrefix(namespace, "job", uid, 1).file(layout.MEDIA_DIGESTS)
    await place.store.put(shown, bytes.fromhex(digest))
    assert b"".join(place.ours.media("job", digest)) == content
    async with AsyncClient(place.front_end.url, token=TOKEN) as ours:
        assert b"".join([piece async for piece in ours.media("job", digest)]) == content
    with pytest.raises(NotFound, match="shows no media of this digest"):
        list(place.ours.media("job", "0" * 64))
    await place.store.delete([layout.media_object(namespace, digest)])
    with pytest.raises(NotFound, match="no longer kept"):
        list(place.ours.media("job", digest))


async def test_by_the_async_client_too(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job")
    async with AsyncClient(place.front_end.url, token=TOKEN) as ours:
        assert (await ours.wait("job")).scores == SCORES
        assert (await ours.results("job")).table() + "\n" == TABLE
        assert [sample async for sample in ours.samples("job", "mme", page_size=5)] == SAMPLES
        assert "\n".join([line async for line in ours.stream_logs("job")]) + "\n" == LOG
        assert await ours.list_tasks("mm") == ["mme", "mmmu_val"]
        assert (await ours.models()).unavailable == {"vllm": "vllm is not installed."}


async def test_samples_are_filtered_searched_and_sorted(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job")
    ours = place.ours
    assert [card.doc_id for card in ours.explore("job", "mme", page_size=3)] == list(range(7))
    wrong = list(ours.explore("job", "mme", only="wrong", metrics=["score<1"], page_size=2))
    assert [(card.doc_id, card.metrics) for card in wrong] == [(number, {"score": 0.0}) for number in (0, 2, 4, 6)]
    assert [card.doc_id for card in ours.explore("job", "mme", sort="-length")] == [1, 3, 5, 0, 2, 4, 6]
    assert [card.doc_id for card in ours.explore("job", "mme", search="what", page_size=2)] == list(range(7))
    found = ours.sample("job", "mme", 3)
    assert (found.sample, found.card.flags) == (SAMPLES[3], ["right"])
    with pytest.raises(NotFound, match="no sample of mme with the doc_id 9"):
        ours.sample("job", "mme", 9, filter_name="none")
    async with AsyncClient(place.front_end.url, token=TOKEN) as other:
        assert [card.doc_id async for card in other.explore("job", "mme", only="empty")] == [0, 2, 4, 6]
        assert (await other.sample("job", "mme", 0)).sample == SAMPLES[0]

    def list_documents(*options: str) -> list[int]:
        return [
            json.loads(line)["doc_id"] for line in place.command_line.answer("samples", "job", *options).splitlines()
        ]

    assert list_documents("--sort", "-length", "--limit", "4") == [1, 3, 5, 0]
    assert list_documents("--wrong", "--search", "WHAT", "--limit", "0") == [0, 2, 4, 6]
    assert list_documents("--metric", "score>0.5", "--metric", "score<2") == [1, 3, 5]
    for options in (("--sort", "other"), ("--sort", "score", "--live"), ("--sort", "score", "--search", "x")):
        done = place.command_line("samples", "job", *options)
        assert (done.returncode, done.stdout) == (2, ""), done


async def test_answers_are_read_and_followed_while_a_job_runs(place: Place, client: Transport, namespace: str) -> None:
    uid = (await client.get(EVALUATIONS, "job"))["metadata"]["uid"]
    key = name_segment(ArtifactPrefix(namespace, "job", uid, 1))
    lines = [build_header(1), build_chunk(range(3), batch=3)]

    async def store_answers(kept: int) -> None:
        await place.store.put(key, pack_segment(lines))
        await start_job(client, "job", progress={**PROGRESS, "kept": kept, "updatedAt": UPDATED})

    def list_documents(answers: Iterable[dict[str, Any]]) -> list[Any]:
        return [answer["document"] for answer in answers]

    await store_answers(3)
    waiting = asyncio.create_task(asyncio.to_thread(lambda: list_documents(place.ours.stream_answers("job", "mme"))))
    printing = asyncio.create_task(asyncio.to_thread(place.command_line, "samples", "-f", "job"))
    assert list_documents(place.ours.samples("job", "mme", live=True, page_size=2)) == [0, 1, 2]
    answer = place.command_line.answer
    assert list_documents(map(json.loads, answer("samples", "job", "--live").splitlines())) == [0, 1, 2]
    assert place.command_line("samples", "job", "mme").returncode == 2
    assert place.command_line("samples", "-f", "job", "--wrong").returncode == 2
    async with AsyncClient(place.front_end.url, token=TOKEN) as ours:
        assert [found["scored"] async for found in ours.samples("job", "mme", live=True)] == [False] * 3
        lines.append(build_chunk([3]))
        await store_answers(4)
        await set_status(client, "job", "Cancelled", reason="CancelledByUser", completedAt=UPDATED)
        assert await waiting == [0, 1, 2, 3]
        assert [found["document"] async for found in ours.stream_answers("job", "mme")] == [0, 1, 2, 3]
    printed = await printing
    assert (printed.returncode, list_documents(map(json.loads, printed.stdout.splitlines()))) == (0, [0, 1, 2, 3])
    # What was answered until then is kept, and found without its task.
    assert list_documents(map(json.loads, answer("samples", "job").splitlines())) == [0, 1, 2, 3]
    assert place.ours.job("job").scores is None


async def test_the_command_line_prints_it_plainly(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job")
    answer = place.command_line.answer
    assert answer("results", "job") == answer("watch", "job") == TABLE
    assert json.loads(answer("results", "job", "--json")) == RESULTS
    (row,) = csv.DictReader(io.StringIO(answer("results", "job", "--csv")))
    assert (row["Tasks"], row["Value"], row["Stderr"]) == ("mme", "0.5", "")
    assert [json.loads(line) for line in answer("samples", "job", "--limit", "0").splitlines()] == SAMPLES
    assert [
        json.loads(line)["doc_id"] for line in answer("samples", "job", "mme", "--empty", "--limit", "2").splitlines()
    ] == [
        0,
        2,
    ]
    assert answer("logs", "job") == answer("logs", "-f", "job") == LOG
    assert answer("logs", "job", "--tail", "1") == "line 99\n"
    assert "it has those of mme" in place.command_line("samples", "job", "nope").stderr


async def test_results_that_are_suspect_are_not_shown_without_a_warning(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job", **SUSPECT)
    found = place.ours.wait("job")
    assert (found.warnings, found.suspect) == ([f"The results are suspect: {DOUBT}."], Suspect(samples=7, empty=4))
    for command in (
        ("watch", "job"),
        ("results", "job"),
        ("results", "job", "--json"),
        ("results", "job", "--csv"),
        ("get", "job"),
    ):
        done = place.command_line(*command)
        assert done.returncode == 0, done.stderr
        assert f"warning: The results are suspect: {DOUBT}.\n" in done.stderr and DOUBT not in done.stdout


def shell(place: Place, script: str) -> str:
    environment = {**build_bare_environment(), "URL": place.front_end.url, "TOKEN": TOKEN}
    command = ["bash", "-O", "expand_aliases", "-o", "pipefail", "-ec", script]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout


async def test_the_guides_lines_for_curl_read_it_too(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job")
    guide = (ROOT / "docs" / "guide.md").read_text().partition("### Results, samples and logs with curl")[2]
    alias, *lines = re.findall(r"^    ((?:alias )?ask\b[^\n]*?)(?:  +#.*)?$", guide, re.MULTILINE)
    answers = [shell(place, f"{alias}\n{line.replace('NAME', 'job')}") for line in lines]
    results, inside, samples, wrong, whole, files, tail, followed = answers
    assert json.loads(results) == RESULTS and json.loads(inside) == RESULTS["results"]
    assert json.loads(samples)["samples"] == SAMPLES and len(json.loads(wrong)["samples"]) == 4
    assert [json.loads(line) for line in whole.splitlines()] == SAMPLES
    assert json.loads(files) == {"files": [], "truncated": False}
    assert LOG.endswith(tail) and tail.count("\n") == 50 and followed == LOG


async def test_before_there_are_results_it_says_why(place: Place, client: Transport) -> None:
    await start_job(client, "job")
    for arguments in (("results", "job"), ("samples", "job", "mme"), ("logs", "job")):
        done = place.command_line(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("lmmeval: Job job has no ")
    await complete_job(client, "job")
    done = place.command_line("samples", "job")
    assert (done.returncode, "it has no samples" in done.stderr) == (2, True)


def test_the_catalogue_is_listed(place: Place) -> None:
    answer = place.command_line.answer
    assert answer("tasks") == "mme\nmmmu_val\n"
    assert answer("tasks", "mmmu") == "mmmu_val\n"
    assert answer("tasks", "--details", "mme").splitlines()[1].split() == [
        "mme",
        "task",
        "lmms-lab/MME",
        "-",
        "score",
        "-",
    ]
    assert answer("models") == "llava_hf\nvllm   (not usable: vllm is not installed.)\n"
    assert json.loads(answer("models", "--json", "vl"))["models"] == ["vllm"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lmmeval sub", ["submit"]),
        ("lmmeval get j", ["job"]),
        ("lmmeval submit --tasks mme,mm", ["mme,mme", "mme,mmmu_val"]),
        ("lmmeval submit --model vl", ["vllm"]),
    ],
)
def test_a_shell_is_offered_what_there_is(place: Place, line: str, offered: list[str]) -> None:
    asked = {"_LMMEVAL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    asking = CommandLine(place.command_line.environment | asked)
    assert asking.answer().split() == offered
    place.front_end.stop()
    assert asking().stderr == ""


async def test_samples_are_laid_out_in_a_terminal(place: Place, client: Transport) -> None:
    await complete_with_files(client, place.store, "job")
    terminal: Terminal = place.command_line.terminal("samples", "job", "--limit", "1")
    try:
        assert terminal.end() == 0
        assert [line.split() for line in terminal.text.splitlines()[:3]] == [
            ["doc_id", "0"],
            ["input", "What?"],
            ["target", "A"],
        ]
    finally:
        terminal.close()


def test_without_a_catalogue_it_says_why(
    front_end: FrontEnd, command_line: CommandLine, in_terminal: Callable[..., Terminal]
) -> None:
    done = command_line("tasks")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)
