"""`lmmeval gate`: exit codes for scripts, and tables for people."""

from typing import Any, cast

import pytest
import typer

from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.gate import Inconclusive, gate, render_markdown
from lmms_eval_client.cli.parsing import parse_gate
from lmms_eval_client.client import Client
from lmms_eval_core.wire import Gate, JobGate

FOUND: dict[str, Any] = {
    "job_id": "ckpt-9",
    "verdict": "Failed",
    "reason": "Worse",
    "message": "gpt_eval_score,none of mmbench_en_dev: changed by -0.04",
    "baseline": {"name": "main", "uid": "1a2b3c4d-0000", "attempt": 1, "digest": "9f3c5e77" * 8},
    "metrics": [
        {
            "task": "mmbench|en",
            "metric": "gpt_eval_score,none",
            "verdict": "Failed",
            "reason": "Worse",
            "tier": "Critical",
            "baseline": 0.8,
            "value": 0.76,
            "change": -0.04,
            "lower": -0.055,
            "upper": -0.026,
            "margin": 0.01,
            "documents": 1000,
        },
        {
            "task": "mme",
            "metric": "score,none",
            "verdict": "Inconclusive",
            "reason": "NotEnoughEvidence",
            "tier": "Advisory",
        },
    ],
}


class OneGate:
    """A client of a front end that knows one gate."""

    def __init__(self, **changes: Any) -> None:
        self.found = JobGate.model_validate(FOUND | changes)

    def gate(self, job: str) -> JobGate:
        """Return it."""
        return self.found


def run(*, inconclusive: Inconclusive | None = None, markdown: bool = False, **changes: Any) -> int:
    with pytest.raises(typer.Exit) as ended:
        client = cast(Client, OneGate(**changes))
        gate(client, "ckpt-9", markdown=markdown, as_json=False, inconclusive=inconclusive)
    return ended.value.exit_code


@pytest.mark.parametrize(
    ("verdict", "counts_as", "code"),
    [
        ("Passed", None, 0),
        ("Failed", None, 7),
        ("Inconclusive", None, 8),
        ("Inconclusive", Inconclusive.PASS, 0),
        ("Inconclusive", Inconclusive.FAIL, 7),
        ("Passed", Inconclusive.FAIL, 0),
        ("Failed", Inconclusive.PASS, 7),
        # Of a newer release.
        ("Splendid", None, 8),
    ],
)
def test_exit_codes(verdict: str, counts_as: Inconclusive | None, code: int) -> None:
    assert run(verdict=verdict, inconclusive=counts_as) == code


def test_a_job_that_runs_has_no_verdict() -> None:
    with pytest.raises(CliError, match="has not ended"):
        gate(cast(Client, OneGate(verdict=None)), "ckpt-9", markdown=False, as_json=False, inconclusive=None)


def test_a_person_reads_a_sentence_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    text = capsys.readouterr().out
    assert text.startswith("Gate failed (Worse): ckpt-9 against main. gpt_eval_score,none of")
    assert "-0.055 … -0.026" in text and "? advisory" in text


def test_the_summary_of_a_ci_job() -> None:
    lines = render_markdown(JobGate.model_validate(FOUND | {"omitted": 3})).splitlines()
    assert lines[0] == "**Gate failed**: ckpt-9 against main (uid 1a2b3c4d, values 9f3c5e77)"
    assert lines[4:6] == [
        "|  | task | metric | base | now | change | limits | may lose | n |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    assert "mmbench|en" not in lines[6] and lines[6].endswith("| 0.8 | 0.76 | -0.04 | -0.055 … -0.026 | 0.01 | 1,000 |")
    assert lines[-1] == "3 more in gate.json."


def test_rules_are_given_in_the_words_of_the_resource_or_of_a_request() -> None:
    text = '{"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": 0.01, "minPairs": 5}, {"max_drop_percent": 3}]}'
    found = Gate.model_validate(parse_gate(text))
    assert [(rule.max_drop, rule.max_drop_percent, rule.min_pairs) for rule in found.rules] == [
        (0.01, None, 5),
        (None, 3, 30),
    ]
    for wrong in ("[]", "{", "main"):
        with pytest.raises(ValueError, match="--gate takes"):
            parse_gate(wrong)
