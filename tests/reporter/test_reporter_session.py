"""The reporter's whole life, as its own process, against a real API server and a real S3 server."""

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from journal_files import make_chunk, make_header, make_lines
from reporter_process import ApiServerLink, ReporterProcess, RunDirectoryWriter, RunningEvaluation, wait_for

from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# Shorter than what is waited for without what is tested.
SLOW_MACHINE_SECONDS = 15

Make = Callable[..., ReporterProcess]


class Stored:
    """What an attempt has in the store."""

    def __init__(self, s3_server: Any, evaluation: RunningEvaluation, namespace: str, attempt: int = 1) -> None:
        self._store = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
        self._prefix = ArtifactPrefix(namespace, evaluation.name, evaluation.uid, attempt)
        self.uri = self._store.uri(self._prefix.path)

    async def names(self) -> list[str]:
        return sorted(
            [entry.key.removeprefix(self._prefix.path) async for entry in self._store.list(self._prefix.path)]
        )

    async def delete(self, *names: str) -> None:
        await self._store.delete([self._prefix.file(name) for name in names])

    async def complete(self) -> bool:
        return "complete.json" in await self.names()

    async def text(self, name: str) -> str:
        content = await self._store.get(self._prefix.file(name), max_bytes=10**6)
        if name.endswith(".zst"):
            content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True).read()
        return content.decode()


@pytest.fixture
def stored(s3_server: Any, evaluation: RunningEvaluation, namespace: str) -> Stored:
    return Stored(s3_server, evaluation, namespace)


async def test_a_run_from_ready_to_published(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored, namespace: str
) -> None:
    one = reporter()
    await one.start()
    await files.wait_for_file("ready")
    assert not files.has_file("published")
    files.write_progress("LoadingModel")
    await evaluation.wait_for_status(lambda status: status.get("progress", {}).get("text") == "LoadingModel")
    files.write_progress("Evaluating", 12, 24)
    status = await evaluation.wait_for_status(lambda status: status["progress"]["text"] == "12/24 50%")
    assert status["reportedAttempt"] == 1 and status["progress"]["stage"] == "Evaluating"
    files.write_progress("Scoring", 24, 24)
    (files.path / "log.txt").write_text("loaded\nlogin hf_abcdefghijklmnopqrstuvwxyz\nall done\n")
    files.write_success(timings={"totalSeconds": 12.5}, answers={"samples": 2}, versions={"lmms_eval": "0.7.3"})
    assert await files.wait_for_file("published") == "published"

    status = await evaluation.read_status()
    assert status["scores"] == {"tiny_vqa": {"tiny_acc,none": {"value": 0.25, "stderr": 0.09}}}
    assert status["summary"] == "tiny_vqa 0.25"
    assert status["usage"] == {
        "totalSeconds": 12.5,
        "gpuSeconds": 12.5,
        "samples": 2,
        "versions": {"lmms_eval": "0.7.3"},
        "image": "evaluator:1",
    }
    assert status["progress"]["text"] == "24/24 100%" and status["progress"]["stage"] == "Publishing"
    assert "error" not in status and "truncated" not in status
    assert status["phase"] == "Running" and status["reason"] == "Starting"

    names = [
        "complete.json",
        "evaluation.yaml",
        "index/tiny_vqa.idx",
        "log.txt.zst",
        "outcome.json",
        "results.json",
        "samples/tiny_vqa.jsonl.zst",
    ]
    assert await stored.names() == names
    assert status["artifacts"]["uri"] == stored.uri
    assert {file["name"]: file.get("lines") for file in status["artifacts"]["files"]} == {
        "evaluation.yaml": None,
        "results.json": 0,
        "samples/tiny_vqa.jsonl.zst": 2,
        "log.txt.zst": 3,
        "outcome.json": None,
    }
    assert await stored.text("samples/tiny_vqa.jsonl.zst") == '{"doc_id": 0}\n{"doc_id": 1}\n'
    assert await stored.text("log.txt.zst") == "loaded\nlogin [REDACTED]\nall done\n"
    asked = yaml.safe_load(await stored.text("evaluation.yaml"))
    assert asked["spec"]["modelArgs"] == {"pretrained": "tiny/llava"} and asked["metadata"]["namespace"] == namespace
    assert json.loads(await stored.text("complete.json"))["status"]["scores"] == status["scores"]
    assert await one.stop() == 0


async def test_a_failure_tells_what_and_keeps_the_log(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored
) -> None:
    one = reporter()
    await one.start()
    await files.wait_for_file("ready")
    (files.path / "log.txt").write_text("Traceback\n\x1b[31mValueError: Tasks not found: tinny\x1b[0m\n")
    files.write_outcome("TaskNotFound", 65, message="lmms-eval does not know the task tinny")
    await files.wait_for_file("published")
    status = await evaluation.read_status()
    assert status["error"] == {
        "class": "TaskNotFound",
        "message": "lmms-eval does not know the task tinny",
        "logTail": "Traceback\nValueError: Tasks not found: tinny",
    }
    assert "scores" not in status and "summary" not in status
    assert await stored.names() == ["complete.json", "evaluation.yaml", "log.txt.zst", "outcome.json"]


async def test_the_evaluator_waits_until_the_store_is_there(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, s3_server: Any
) -> None:
    s3_server.stop()
    one = reporter()
    await one.start()
    status = await evaluation.wait_for_status(lambda status: "progress" in status)
    assert status["progress"]["text"] == "waiting for object store" and status["progress"]["stage"] == "Starting"
    waiting = await one.wait_for_event("waiting")
    assert waiting["step"] == "writing to the object store" and "does not answer" in waiting["error"]
    assert not files.has_file("ready")
    s3_server.start()
    await files.wait_for_file("ready")


async def test_wrong_credentials_are_said_and_the_evaluator_does_not_start(
    reporter: Make, files: RunDirectoryWriter
) -> None:
    one = reporter(AWS_SECRET_ACCESS_KEY="not-it")
    await one.start()
    waiting = await one.wait_for_event("waiting")
    assert "refused the credentials" in waiting["error"] and "not-it" not in waiting["error"]
    assert not files.has_file("ready")
    assert await one.stop() == 0


@pytest.mark.parametrize("how", ["dead", "hanging"])
async def test_results_wait_for_a_store_that_is_away(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, s3_server: Any, stored: Stored, how: str
) -> None:
    await reporter().start()
    await files.wait_for_file("ready")
    (s3_server.stop if how == "dead" else s3_server.pause)()
    files.write_success()
    await asyncio.sleep(3)
    assert not files.has_file("published")
    (s3_server.start if how == "dead" else s3_server.resume)()
    await files.wait_for_file("published", 60)
    assert (await evaluation.read_status())["summary"] == "tiny_vqa 0.25"
    assert "complete.json" in await stored.names()


@pytest.mark.parametrize("how", ["dead", "hanging"])
async def test_results_wait_for_an_api_server_that_is_away(
    reporter: Make,
    evaluation: RunningEvaluation,
    files: RunDirectoryWriter,
    link: ApiServerLink,
    stored: Stored,
    how: str,
) -> None:
    await reporter().start()
    await files.wait_for_file("ready")
    if how == "dead":
        await link.cut()
    else:
        link.hang()
    files.write_progress("Evaluating", 1, 2)
    files.write_success()
    await wait_for(stored.complete)
    assert not files.has_file("published")
    if how == "dead":
        await link.connect()
    else:
        link.flow()
    await files.wait_for_file("published")
    assert (await evaluation.read_status())["summary"] == "tiny_vqa 0.25"


async def test_a_deleted_evaluation_is_acknowledged(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored
) -> None:
    await reporter().start()
    await files.wait_for_file("ready")
    await evaluation.delete()
    files.write_success()
    started = time.monotonic()
    assert await files.wait_for_file("published") == "the evaluation was deleted"
    assert time.monotonic() - started < SLOW_MACHINE_SECONDS
    assert await stored.names() == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"attempt": 2}, "the evaluation is at attempt 2, not 1"), ({"phase": "Failed"}, "the evaluation is Failed")],
)
async def test_an_attempt_that_is_over_changes_nothing(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, fields: dict[str, Any], why: str
) -> None:
    await reporter().start()
    await files.wait_for_file("ready")
    await evaluation.set_status(**fields)
    before = await evaluation.read_status()
    files.write_progress("Evaluating", 1, 2)
    files.write_success()
    assert await files.wait_for_file("published") == why
    assert await evaluation.read_status() == before


async def test_a_pod_that_comes_too_late_runs_nothing(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter
) -> None:
    await evaluation.set_status(attempt=2)
    await reporter().start()
    await files.wait_for_file("ready")
    assert files.has_file("published")


async def test_sigterm_without_an_outcome_is_an_interruption(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored
) -> None:
    one = reporter()
    await one.start()
    await files.wait_for_file("ready")
    (files.path / "log.txt").write_text("half way\n")
    assert await one.stop() == 0
    status = await evaluation.read_status()
    assert status["error"]["class"] == "Interrupted" and status["error"]["logTail"] == "half way"
    assert await stored.text("log.txt.zst") == "half way\n"


async def test_sigterm_ends_the_waiting_after_the_grace(
    reporter: Make, files: RunDirectoryWriter, s3_server: Any
) -> None:
    one = reporter(LMMS_EVAL_REPORTER_GRACE_SECONDS="1")
    await one.start()
    await files.wait_for_file("ready")
    s3_server.stop()
    files.write_success()
    await one.wait_for_event("waiting")
    started = time.monotonic()
    assert await one.stop() == 0
    assert time.monotonic() - started < 1 + SLOW_MACHINE_SECONDS
    assert not files.has_file("published")
    assert (await one.wait_for_event("gave up"))["after_sigterm"] is True


async def test_an_earlier_attempt_that_finished_is_published_again(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored, tmp_path: Path
) -> None:
    first = reporter()
    await first.start()
    await files.wait_for_file("ready")
    files.write_success()
    await files.wait_for_file("published")
    scores = (await evaluation.read_status())["scores"]
    await first.stop()
    await evaluation.set_status(attempt=2, scores={}, summary="", artifacts={"uri": ""})
    for name in ("ready", "published", "outcome.json", "progress.json"):
        (files.path / name).unlink(missing_ok=True)

    await reporter(attempt=2).start()
    await files.wait_for_file("ready")
    assert (files.path / "published").read_text().strip() == "attempt 1 had finished"
    status = await evaluation.read_status()
    assert (status["reportedAttempt"], status["scores"], status["artifacts"]["uri"]) == (2, scores, stored.uri)
    assert status["progress"]["text"] == "100%"


async def test_an_earlier_failure_is_tried_again(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter
) -> None:
    first = reporter()
    await first.start()
    await files.wait_for_file("ready")
    files.write_outcome("Interrupted", 75)
    await files.wait_for_file("published")
    await first.stop()
    await evaluation.set_status(attempt=2)
    for name in ("ready", "published", "outcome.json"):
        (files.path / name).unlink()
    await reporter(attempt=2).start()
    await files.wait_for_file("ready")
    assert not files.has_file("published")


def begin_next_attempt(files: RunDirectoryWriter) -> Path:
    """Empty the run directory, as that of another pod is; return the journal of rank 0 of the first attempt."""
    for name in ("ready", "published", "outcome.json", "progress.json"):
        (files.path / name).unlink(missing_ok=True)
    shutil.rmtree(files.path / "journal", ignore_errors=True)
    return files.path / "earlier" / "a000001-r0.jsonl"


def append_to_journal(files: RunDirectoryWriter, content: bytes, *, attempt: int = 1) -> None:
    (files.path / "journal").mkdir(exist_ok=True)
    with (files.path / "journal" / f"a{attempt:06d}-r0.jsonl").open("ab") as stream:
        stream.write(content)


async def test_answers_outlive_a_pod_that_is_stopped(
    reporter: Make,
    evaluation: RunningEvaluation,
    files: RunDirectoryWriter,
    s3_server: Any,
    stored: Stored,
    namespace: str,
) -> None:
    first = reporter()
    await first.start()
    await files.wait_for_file("ready")
    append_to_journal(files, make_lines(1, 3))
    assert await first.stop() == 0
    assert await stored.text("journal/a000001-r0.jsonl-0000.zst") == make_lines(1, 3).decode()
    assert (await evaluation.read_status())["progress"]["kept"] == 3

    earlier = begin_next_attempt(files)
    await evaluation.set_status(attempt=2)
    await reporter(attempt=2).start()
    await files.wait_for_file("ready")
    assert earlier.read_bytes() == make_lines(1, 3)
    append_to_journal(files, make_lines(2, 1), attempt=2)
    files.write_success()
    await files.wait_for_file("published")
    second = Stored(s3_server, evaluation, namespace, attempt=2)

    async def deleted() -> bool:
        return not [name for one in (stored, second) for name in await one.names() if name.startswith("journal/")]

    await wait_for(deleted)
    assert "complete.json" in await second.names()


@pytest.mark.parametrize("how", ["dead", "hanging"])
async def test_a_run_goes_on_while_the_store_is_away_and_its_answers_follow(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, s3_server: Any, stored: Stored, how: str
) -> None:
    one = reporter()
    await one.start()
    await files.wait_for_file("ready")
    append_to_journal(files, make_header() + make_chunk(0))
    files.write_progress("Evaluating", 1, 3)
    await evaluation.wait_for_status(lambda status: status.get("progress", {}).get("kept") == 1)
    (s3_server.stop if how == "dead" else s3_server.pause)()
    append_to_journal(files, make_chunk(1))
    files.write_progress("Evaluating", 2, 3)
    await evaluation.wait_for_status(lambda status: status["progress"]["text"] == "2/3 66%")
    if how == "dead":
        await one.wait_for_event("journal not stored")
    (s3_server.start if how == "dead" else s3_server.resume)()
    files.write_outcome("OutOfMemory", 68)
    await files.wait_for_file("published", 60)
    expected = make_header() + make_chunk(0) + make_chunk(1)
    assert await stored.text("journal/a000001-r0.jsonl-0000.zst") == expected.decode()
    assert (await evaluation.read_status())["progress"]["kept"] == 2


async def test_a_reporter_that_was_killed_stores_the_journal_again(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored
) -> None:
    first = reporter()
    await first.start()
    await files.wait_for_file("ready")
    append_to_journal(files, make_lines(1, 2))
    await first.stop(signal.SIGKILL)
    second = reporter()
    await second.start()
    append_to_journal(files, make_chunk(2))
    files.write_progress("Evaluating", 3, 4)
    await evaluation.wait_for_status(lambda status: status.get("progress", {}).get("kept") == 3)
    assert await stored.text("journal/a000001-r0.jsonl-0000.zst") == make_lines(1, 3).decode()


async def test_a_reporter_that_was_killed_goes_on_where_it_was(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, s3_server: Any
) -> None:
    first = reporter()
    await first.start()
    await files.wait_for_file("ready")
    s3_server.pause()
    files.write_success()
    await asyncio.sleep(1)
    await first.stop(signal.SIGKILL)
    s3_server.resume()
    await reporter().start()
    await files.wait_for_file("published")
    assert (await evaluation.read_status())["summary"] == "tiny_vqa 0.25"


async def test_a_reporter_that_was_killed_behind_the_results_publishes_all_again(
    reporter: Make, files: RunDirectoryWriter, stored: Stored
) -> None:
    first = reporter()
    await first.start()
    await files.wait_for_file("ready")
    files.write_success()
    await files.wait_for_file("published")
    whole = await stored.names()
    await first.stop(signal.SIGKILL)
    await stored.delete(*(name for name in whole if name.startswith("index/")))
    (files.path / "published").unlink()
    await reporter().start()
    assert (await files.wait_for_file("published")).strip() == "published"
    assert "complete.json" in whole and any(name.startswith("index/") for name in whole)
    assert await stored.names() == whole


async def test_a_hostile_run_directory_gives_nothing_away(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter, stored: Stored, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("the reporter's token")
    await reporter().start()
    await files.wait_for_file("ready")
    output = files.path / "output" / "m"
    output.mkdir(parents=True)
    stamp = "20261123_070000"
    (output / f"{stamp}_samples_link.jsonl").symlink_to(tmp_path / "token")
    os.link(tmp_path / "token", output / f"{stamp}_samples_hard.jsonl")
    os.mkfifo(output / f"{stamp}_samples_fifo.jsonl")
    (files.path / "log.txt").unlink()
    (files.path / "log.txt").symlink_to(tmp_path / "token")
    samples = {
        name: f"output/m/{stamp}_samples_{name}.jsonl" for name in ("link", "hard", "fifo", "nothing", "..:..:x")
    }
    samples |= {
        "up": "output/../../token",
        "absolute": str(tmp_path / "token"),
        "outside": "run.json",
        "../../x": f"output/m/{stamp}_samples_..:..:x.jsonl",
    }
    (output / f"{stamp}_samples_..:..:x.jsonl").write_text("{}\n")
    (output / f"{stamp}_results.json").write_text(
        '{"results": {"a/../../b<>": {"acc,none": 1e999, "odd,none": "x"}}, "groups": 7}'
    )
    files.write_outcome("Succeeded", 0, results=f"output/m/{stamp}_results.json", samples=samples, message="x" * 10**5)
    await files.wait_for_file("published")
    status = await evaluation.read_status()
    assert status["truncated"] is True and status["artifacts"]["truncated"] is True
    nothing = {"value": None, "stderr": None}
    assert status["scores"] == {"a/../../b<>": {"acc,none": nothing, "odd,none": nothing}}
    names = ["complete.json", "evaluation.yaml", "outcome.json", "results.json", "samples/.._.._x.jsonl.zst"]
    assert await stored.names() == sorted([*names, "index/.._.._x.idx"])
    for name in names:
        assert "the reporter's token" not in await stored.text(name)


async def test_a_run_that_says_far_too_much_still_fits_into_a_status(
    reporter: Make, evaluation: RunningEvaluation, files: RunDirectoryWriter
) -> None:
    odd = '<&>\u2028é😀\\"\x01' * 3000
    await reporter().start()
    await files.wait_for_file("ready")
    tasks = {f"{n}{odd[: n % 300]}": {f"{odd[: n % 500]},none": n / 7, "acc_stderr,none": "N/A"} for n in range(3000)}
    results = json.dumps({"results": tasks | {"\ud800": {"acc,none": 10**400}}, "groups": tasks})
    named = {
        f"{n}{odd[:50].replace('/', '')}": f"20261123_070000_samples_{n}{odd[:50].replace('/', '')}.jsonl"
        for n in range(400)
    }
    samples = {task: files.write_output(name, "{}\n") for task, name in named.items()}
    (files.path / "log.txt").write_text(odd)
    files.write_outcome(
        "Succeeded",
        0,
        results=files.write_output("20261123_070000_results.json", results),
        samples=samples,
        versions={f"{n}{odd[:900]}": odd[:900] for n in range(60)},
        answers={"samples": 10**30},
        timings={"totalSeconds": 1e308},
    )
    await files.wait_for_file("published", 100)
    status = await evaluation.read_status()
    assert status["truncated"] is True and len(status["scores"]) > 20 and len(status["artifacts"]["files"]) > 20
    assert len(json.dumps(status, ensure_ascii=False).encode()) < 54 * 1024


async def test_the_rights_of_the_chart_are_enough(
    reporter: Make,
    evaluation: RunningEvaluation,
    files: RunDirectoryWriter,
    link: ApiServerLink,
    kubectl: Any,
    namespace: str,
    tmp_path: Path,
) -> None:
    rights = (
        "--verb=get --resource=lmmevaluations.lmms-eval.io",
        "--verb=get,patch --resource=lmmevaluations.lmms-eval.io/status",
    )
    kubectl("-n", namespace, "create", "serviceaccount", "reporter")
    for number, right in enumerate(rights):
        kubectl("-n", namespace, "create", "role", f"reporter-{number}", *right.split())
        kubectl(
            "-n", namespace, "create", "rolebinding", f"reporter-{number}", f"--role=reporter-{number}",
            f"--serviceaccount={namespace}:reporter",
        )  # fmt: skip
    (tmp_path / "token").write_text(kubectl("-n", namespace, "create", "token", "reporter"))
    authority = yaml.safe_load(link.kubeconfig.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(authority))
    one = reporter(
        LMMS_EVAL_REPORTER_TOKEN_FILE=str(tmp_path / "token"),
        LMMS_EVAL_REPORTER_CA_FILE=str(tmp_path / "ca.crt"),
        KUBERNETES_SERVICE_HOST="127.0.0.1",
        KUBERNETES_SERVICE_PORT=str(link.port),
    )
    await one.start()
    await files.wait_for_file("ready")
    files.write_success()
    await files.wait_for_file("published")
    assert (await evaluation.read_status())["summary"] == "tiny_vqa 0.25"
