import io
import json

import pytest
import zstandard

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome
from lmms_eval_reporter.content import Count
from lmms_eval_reporter.files import UnsafeFile
from lmms_eval_reporter.settings import Limits
from lmms_eval_reporter.sources import sources

STAMP = "20261123_070000"


def outcome(samples: dict[str, str], results: str | None = f"output/{STAMP}_results.json") -> Outcome:
    return Outcome(reason=Reason.SUCCEEDED, exit_code=0, results=results, samples=samples)


def test_results_samples_and_log_have_their_places() -> None:
    found = list(sources(outcome({"mme": f"output/{STAMP}_samples_mme.jsonl"}), Limits()))
    assert [(source.name, source.path(), source.keep_end) for source in found] == [
        ("results.json", f"output/{STAMP}_results.json", False),
        ("samples/mme.jsonl.zst", f"output/{STAMP}_samples_mme.jsonl", False),
        ("log.txt.zst", "log.txt", True),
    ]


def test_the_log_goes_even_without_results() -> None:
    assert [source.name for source in sources(outcome({}, results=None), Limits())] == ["log.txt.zst"]


def test_tasks_never_share_a_file() -> None:
    names = ["a/b", "a_b", "a:b", "../a", "..", ".", "", "x" * 300, "x" * 301, "a_b-1"]
    found = [source.name for source in sources(outcome({name: "output/x" for name in names}), Limits())]
    assert len(set(found)) == len(names) + 2
    assert all(name.count("/") <= 1 and ".." not in name.split("/") for name in found)


def test_no_more_files_than_the_limit() -> None:
    many = {f"t{n}": "output/x" for n in range(50)}
    assert len([s for s in sources(outcome(many), Limits(files=10)) if s.name.startswith("samples/")]) == 10


def test_what_is_stored_is_json_for_every_reader() -> None:
    results, samples, _ = sources(outcome({"mme": f"output/{STAMP}_samples_mme.jsonl"}), Limits())
    count = Count()
    assert b"".join(results.form([b'{"results": {"t": {"m,no', b'ne": NaN}}}'], count)) == b'{"results": {"t": {"m,none": null}}}'
    lines = [
        b'{"a": "NaN \\" Infinity", "b": -Infi',
        b"nity}\n" + b"[" * 200 + b"]" * 200 + b"\n",
        b'{"n": ' + b"9" * 5000 + b"}",
    ]
    stored = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(b"".join(samples.form(lines, count)))).read().splitlines()
    assert stored[0] == b'{"a": "NaN \\" Infinity", "b": null}'
    assert json.loads(stored[1]) == {"omitted": "this line is nested deeper than 100 levels"}
    assert stored[2] == b'{"n": null}'
    assert count.omitted == 1


@pytest.mark.parametrize("content", [b'{"results": {%s}}' % b",".join([b'"t":{}'] * 600_000), b"[" * 200])
def test_results_that_would_fill_the_memory_of_a_reader_are_not_stored(content: bytes) -> None:
    results, *_ = sources(outcome({}), Limits())
    with pytest.raises(UnsafeFile, match="the results file"):
        results.form([content], Count())
