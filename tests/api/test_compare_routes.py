"""Comparisons over HTTP, from a store in memory: numbers, findings, rights, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from compared_jobs import Jobs, Rights, make_samples
from evaluation_objects import build_evaluation_object
from memory_store import MemoryStore

from lmms_eval_api.auth import Authenticator
from lmms_eval_core.sample_index.writer import encode_omission
from lmms_eval_core.sample_scoring import FAILED_MARK

# 60 lost, 20 won, of 1,000.
OLD = [1.0] * 560 + [0.0] * 440
NEW = [0.0] * 60 + [1.0] * 500 + [1.0] * 20 + [0.0] * 420


@pytest.fixture
def jobs() -> Jobs:
    made = Jobs()
    made.add("main", {"mme": make_samples(OLD)})
    made.add("ckpt", {"mme": make_samples(NEW)}, spec={"modelArgs": {"pretrained": "ckpt"}})
    return made


@pytest.fixture
async def session(jobs: Jobs) -> AsyncIterator[httpx.AsyncClient]:
    async with jobs.open() as opened:
        yield opened


async def compare(session: httpx.AsyncClient, path: str = "/jobs/ckpt/compare?baseline=main") -> dict[str, Any]:
    answer = await session.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def find_metric(found: dict[str, Any], *, comparison: int = 0) -> dict[str, Any]:
    metric: dict[str, Any] = found["comparisons"][comparison]["tasks"][0]["metrics"][0]
    return metric


def list_findings(found: dict[str, Any]) -> list[tuple[str, str]]:
    comparison = found["comparisons"][0]
    parts = [comparison, *comparison["tasks"], *(m for task in comparison["tasks"] for m in task["metrics"])]
    return list(dict.fromkeys((each["reason"], each["message"]) for part in parts for each in part["findings"]))


async def test_a_comparison(session: httpx.AsyncClient, jobs: Jobs) -> None:
    found = await compare(session, "/jobs/ckpt/compare?baseline=main&margin=0.01&changed=2")
    assert [run["job_id"] for run in found["runs"]] == ["main", "ckpt"]
    assert len(found["runs"][0]["digest"]) == 64 and found["confidence"] == 0.95
    comparison = found["comparisons"][0]
    assert (comparison["baseline"], comparison["candidate"]) == ("main", "ckpt")
    task = comparison["tasks"][0]
    assert (task["task"], task["documents"]["pairs"], task["findings"]) == ("mme", 1000, [])
    metric = task["metrics"][0]
    assert (metric["metric"], metric["filter"], metric["first"]) == ("acc", "none", True)
    assert (metric["baseline"], metric["candidate"], metric["difference"]) == (0.56, 0.52, -0.04)
    # Of the worked example B3, at 97.5 % for each limit.
    assert metric["p"] == metric["p_adjusted"] == pytest.approx(5.656214894965927e-06, abs=1e-12)
    assert -0.0595 < metric["lower"] < -0.05524 and -0.025773 < metric["upper"] < -0.0215
    assert (metric["lost"], metric["won"], metric["conclusion"]) == (60, 20, "worse")
    assert metric["method"] == "McNemar mid-p, Tango limits"
    assert 0.02 < metric["detectable"] < 0.03 and metric["needed"] > 4000
    assert [(each["doc_id"], each["baseline"], each["candidate"]) for each in metric["changed"]] == [
        (0, 1.0, 0.0),
        (1, 1.0, 0.0),
        (560, 0.0, 1.0),
        (561, 0.0, 1.0),
    ]
    assert found["reruns"] == []


async def test_the_other_way_round(session: httpx.AsyncClient) -> None:
    metric = find_metric(await compare(session, "/jobs/main/compare?baseline=ckpt"))
    assert (metric["difference"], metric["conclusion"], metric["changed"]) == (0.04, "better", [])


async def test_what_samples_say_is_read_once(session: httpx.AsyncClient, jobs: Jobs) -> None:
    first = await compare(session)
    reads = len(jobs.store.reads)
    assert await compare(session) == first
    assert len(jobs.store.reads) == reads


async def test_percent(jobs: Jobs) -> None:
    for name, values in (("main", OLD), ("ckpt", NEW)):
        samples = make_samples(values)
        jobs.add(f"{name}-pct", {"mme": samples}, results={"results": {"mme": {"acc,none": 100 * sum(values) / 1000}}})
    async with jobs.open() as session:
        metric = find_metric(await compare(session, "/jobs/ckpt-pct/compare?baseline=main-pct&margin=1&changed=1"))
        assert (metric["baseline"], metric["candidate"]) == (56.0, pytest.approx(52.0))
        assert metric["difference"] == pytest.approx(-4.0) and -5.95 < metric["lower"] < -5.5
        assert metric["changed"][0]["baseline"] == 1.0
        refused = await compare(session, "/jobs/ckpt-pct/compare?baseline=main")
        assert find_metric(refused)["difference"] is None
        assert "NotComparable" in dict(list_findings(refused))


async def test_several_runs_and_a_rerun(jobs: Jobs) -> None:
    jobs.add("main-again", {"mme": make_samples([1.0] * 553 + [0.0] * 447)}, spec={"priority": 5})
    jobs.add("other", {"mme": make_samples(OLD)}, spec={"modelArgs": {"pretrained": "other"}})
    async with jobs.open() as session:
        found = await compare(session, "/jobs/ckpt/compare?baseline=main&baseline=main-again&candidate=other")
        pairs = [(each["candidate"], each["baseline"]) for each in found["comparisons"]]
        assert pairs == [("ckpt", "main"), ("ckpt", "main-again"), ("other", "main"), ("other", "main-again")]
        metric = find_metric(found)
        assert metric["p_adjusted"] > 2 * metric["p"] and metric["conclusion"] == "worse"
        (rerun,) = found["reruns"]
        assert (rerun["baseline"], rerun["candidate"]) == ("main", "main-again")
        assert (rerun["tasks"][0]["metrics"][0]["lost"], rerun["tasks"][0]["metrics"][0]["won"]) == (7, 0)


async def test_tasks_and_groups(jobs: Jobs) -> None:
    samples = make_samples(OLD[:50])
    over = {"results": {"a": {"acc,none": 1.0}, "all": {"acc,none": 0.7}}, "groups": {"all": {"acc,none": 0.7}}}
    jobs.add("x", {"a": samples}, results=over)
    more = {"results": {**over["results"], "b": {"acc,none": 1.0}}, "groups": over["groups"]}
    jobs.add("y", {"a": samples, "b": samples}, results=more)
    async with jobs.open() as session:
        (comparison,) = (await compare(session, "/jobs/y/compare?baseline=x"))["comparisons"]
        assert [task["task"] for task in comparison["tasks"]] == ["a", "all"]
        assert (comparison["only_baseline"], comparison["only_candidate"]) == ([], ["b"])
        group = comparison["tasks"][1]
        assert (group["documents"], group["findings"]) == (None, [])
        assert (group["metrics"][0]["candidate"], group["metrics"][0]["difference"]) == (0.7, None)


def replace_answer(samples: list[dict[str, Any]], count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**sample, **fields} if at < count else sample for at, sample in enumerate(samples)]


FOUND: list[tuple[str, list[dict[str, Any]], dict[str, Any], str, str]] = [
    ("targets", replace_answer(make_samples(OLD), 20, target="B"), {}, "NotComparable", "targets of 20 of 1,000"),
    ("prompts", replace_answer(make_samples(OLD), 20, input="?"), {}, "PromptsDiffer", "prompts of 20 of 1,000"),
    (
        "failed",
        replace_answer(make_samples(OLD), 20, filtered_resps=[f"{FAILED_MARK}] 503"]),
        {},
        "Unscored",
        "20 of 1,000 documents failed in other",
    ),
    ("part", make_samples(OLD[:500]), {"spec": {"limit": 500}}, "DocumentsDiffer", "500 of 1,000 documents"),
    ("version", make_samples(OLD), {"results": {"versions": {"mme": 2}}}, "NotComparable", "version 1 in main"),
    ("predict", make_samples(OLD), {"spec": {"predictOnly": True}}, "NotComparable", "other only predicts"),
    ("settings", make_samples(OLD), {"spec": {"genKwargs": "temperature=1"}}, "SettingsDiffer", "differ in genKwargs"),
    (
        "suspect",
        make_samples(OLD),
        {"conditions": [{"type": "ResultsSuspect", "status": "True", "message": "half of the answers are empty"}]},
        "ResultsSuspect",
        "results of other are suspect: half of the answers are empty",
    ),
    ("no index", make_samples(OLD), {"indexed": False}, "NotComparable", "samples of other are not indexed: it ended"),
]


@pytest.mark.parametrize(("name", "samples", "given", "reason", "sentence"), FOUND, ids=[row[0] for row in FOUND])
async def test_what_is_found(
    jobs: Jobs, name: str, samples: list[dict[str, Any]], given: dict[str, Any], reason: str, sentence: str
) -> None:
    jobs.add("other", {"mme": samples}, **given)
    async with jobs.open() as session:
        found = await compare(session, "/jobs/other/compare?baseline=main")
        assert any(sentence in message for named, message in list_findings(found) if named == reason)
        assert (find_metric(found)["difference"] is None) == (reason == "NotComparable")


async def test_indexes_that_are_none(jobs: Jobs) -> None:
    for content, sentence in (
        (encode_omission("there are more than 5 of them"), "not indexed: there are more than 5 of them."),
        (b"no index", "The samples cannot be compared: the index of these samples has no end."),
        (None, "not indexed: it ended before there were indexes"),
    ):
        jobs.put_index("ckpt", content)
        async with jobs.open() as session:
            found = await compare(session)
            assert any(sentence in message for _, message in list_findings(found))
            assert find_metric(found)["candidate"] == 0.52


async def test_files_that_cannot_be_read(jobs: Jobs) -> None:
    key = next(key for key in jobs.store.objects if key.endswith("ckpt0000/a1/results.json") or "ckpt-ckpt" in key)
    for content, status in ((b"no JSON", 502), (None, 404)):
        if content is None:
            del jobs.store.objects[key]
        else:
            jobs.store.objects[key] = content
        async with jobs.open() as session:
            assert (await session.get("/jobs/ckpt/compare?baseline=main")).status_code == status


REFUSED = [
    ("/jobs/ckpt/compare", 422, "Field required"),
    ("/jobs/ckpt/compare?baseline=ckpt", 422, "name each once"),
    ("/jobs/ckpt/compare?baseline=main&candidate=ckpt", 422, "name each once"),
    ("/jobs/ckpt/compare?baseline=a&baseline=b&candidate=c&candidate=d&candidate=e", 422, "At most 5 jobs"),
    ("/jobs/ckpt/compare?baseline=main&margin=0", 422, "greater than or equal"),
    ("/jobs/ckpt/compare?baseline=main&margin=nan", 422, "finite"),
    ("/jobs/ckpt/compare?baseline=missing", 404, "Job missing not found"),
    ("/jobs/missing/compare?baseline=main", 404, "Job missing not found"),
    ("/jobs/ckpt/compare?baseline=runs", 409, "Job runs cannot be compared: it is still running."),
    ("/jobs/broken/compare?baseline=main", 409, "Job broken cannot be compared: it failed: OutOfMemory."),
    ("/jobs/bare/compare?baseline=main", 409, "Job bare cannot be compared: it has no results."),
]


@pytest.mark.parametrize(("path", "status", "sentence"), REFUSED)
async def test_what_is_refused(jobs: Jobs, path: str, status: int, sentence: str) -> None:
    jobs.cache.learn(build_evaluation_object("runs", phase="Running"))
    jobs.cache.learn(build_evaluation_object("broken", phase="Failed", status={"reason": "OutOfMemory"}))
    jobs.cache.learn(build_evaluation_object("bare", phase="Completed", status={"reason": "Succeeded"}))
    async with jobs.open() as session:
        answer = await session.get(path)
        assert (answer.status_code, sentence in answer.text) == (status, True), answer.text


@pytest.mark.parametrize(
    ("names", "query", "status"),
    [
        (("ckpt", "main"), "baseline=main", 200),
        (("ckpt",), "baseline=main", 403),
        (("main",), "baseline=main", 403),
        (("ckpt", "main"), "baseline=main&baseline=missing", 403),
        (("ckpt", "main"), "baseline=main&candidate=other", 403),
        (("ckpt",), "baseline=missing", 403),
        (("ckpt", "main"), "baseline=main&baseline=", 403),
    ],
)
async def test_each_job_needs_the_right_to_it(jobs: Jobs, names: tuple[str, ...], query: str, status: int) -> None:
    async with jobs.open(cast(Authenticator, Rights(*names))) as session:
        answer = await session.get(f"/jobs/ckpt/compare?{query}")
        assert answer.status_code == status
        if status == 403:
            # Not which of them, nor whether there is one.
            assert answer.json()["detail"] == "somebody may not get lmmevaluations"
            assert jobs.store.reads == []
        # A line's end, which a pattern of paths may let pass.
        assert (await session.get(f"/jobs/ckpt/compare%0A?{query}")).status_code in (403, 404, status)


async def test_without_a_store() -> None:
    jobs = Jobs()
    jobs.add("main", {"mme": make_samples([1.0])})
    jobs.add("ckpt", {"mme": make_samples([1.0])})
    jobs.store = cast(MemoryStore, None)
    async with jobs.open() as session:
        assert (await session.get("/jobs/ckpt/compare?baseline=main")).status_code == 501
