"""Why a run without results ended: from exit code, log, memory counter and full volumes to a reason and a sentence. Pure.

lmms-eval exits with 0 when an evaluation raised, so the log is what counts; the table is in `rules`.
"""

import re
import signal
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from lmms_eval_core.phases import Reason

from .disk import NONE_SEEN, SHARED_MEMORY, FullVolumes, remedy, volume_of
from .rules import DISK_FULL, LAST_RULES, RULES, Rule, culprit_of
from .tracebacks import Chain, Raised, chains

MAX_TEXT: Final = 400
ENDED_BY_EXCEPTION: Final = "Error during evaluation: "

_USAGE_ERROR = re.compile(r"\berror: (?P<text>.+)$")
_NO_SPACE = re.compile(DISK_FULL)
_PATH = re.compile(r"(?<![\w.])/[^\s'\"<>:,;)]+")
_NOT_SAVED = re.compile(r"Could not save results aggregated")
_SIGNAL_OF_A_RANK = re.compile(r"Signal (?P<number>\d+) \(SIG\w+\) received by PID")
# The exception that ended the run says only that another process has failed; that one's traceback stands before it.
_SEE_ELSEWHERE = re.compile(r"root cause|EngineDeadError|Engine core|DataLoader worker|ChildFailedError|worker process")


class Evidence(NamedTuple):
    """What is known after the end. `exit_code` is negative for a death by signal; `lines` are the end of the log.

    `full` are those of `mount_points` whose volumes had no room left. `model` and `endpoint` are what the model arguments
    say; the messages of lmms-eval often leave them out.
    """

    exit_code: int
    lines: Sequence[str]
    memory_kills: int = 0
    full: FullVolumes = NONE_SEEN
    mount_points: Sequence[str] = ()
    gpus: int = 0
    model: str = ""
    endpoint: str = ""


class Verdict(NamedTuple):
    """One reason of the table of endings, and one sentence that names the culprit."""

    reason: Reason
    message: str


def classify(evidence: Evidence) -> Verdict:
    """Why there are no results."""
    if evidence.memory_kills > 0:
        return Verdict(
            Reason.OUT_OF_MEMORY,
            "the container ran out of memory and the kernel killed a process of it; raise spec.resources.memory",
        )
    verdict = _by_exception(evidence.lines) or _by_exit(evidence)
    if verdict.reason is Reason.GPU_ERROR and evidence.gpus == 0:
        return Verdict(Reason.BAD_ARGUMENTS, f"the evaluation wants a GPU, and spec.gpus is 0: {verdict.message}")
    if verdict.reason is Reason.DISK_FULL:
        return disk_full(verdict.message, evidence.mount_points, evidence.full)
    return _with_culprit(verdict, model=evidence.model, endpoint=evidence.endpoint)


def disk_full(text: str, mount_points: Sequence[str], full: FullVolumes = NONE_SEEN) -> Verdict:
    """Which volume was full: the one whose file `text` names, or else those that were seen to be full; and what to do."""
    named = [volume_of(path, mount_points) for path in _PATH.findall(text)]
    volumes = [point for point in named if point not in ("", "/")][:1] or full.at_end or full.ever
    if not volumes:
        return Verdict(Reason.DISK_FULL, f"a volume was full: {text}")
    if volumes[0] == SHARED_MEMORY:
        return Verdict(Reason.OUT_OF_MEMORY, f"{SHARED_MEMORY} is too small, {remedy(SHARED_MEMORY)}: {text}")
    return Verdict(Reason.DISK_FULL, f"the volume at {' and '.join(volumes)} was full; {remedy(volumes[0])}: {text}")


def classify_answers(example: str, count: int, *, endpoint: str = "") -> Verdict:
    """Why all `count` answers are failures, judged by one of them."""
    summary = f"not one of {count} answers is a real one"
    verdict = _by_rules([(Raised("Error", example),)], RULES)
    if verdict is None:
        return Verdict(Reason.ALL_ANSWERS_FAILED, f"{summary}: {_short(example)}" if example else summary)
    return _with_culprit(Verdict(verdict.reason, f"{summary}; {verdict.message}"), endpoint=endpoint)


def _with_culprit(verdict: Verdict, *, model: str = "", endpoint: str = "") -> Verdict:
    culprits = {Reason.MODEL_UNAVAILABLE: model, Reason.UNREACHABLE: endpoint}
    culprit = culprits.get(verdict.reason, "")
    return verdict if culprit in verdict.message else Verdict(verdict.reason, f"{verdict.message} ({culprit})")


def _by_exception(lines: Sequence[str]) -> Verdict | None:
    found = chains(_until_the_end_of_the_evaluation(lines))
    if not found:
        return None
    last = found[-1]
    candidates = list(reversed(found)) if _SEE_ELSEWHERE.search(last[-1].text) else [last]
    return _by_rules(candidates, RULES) or _by_rules([last], LAST_RULES) or _raised(culprit_of(last))


def _until_the_end_of_the_evaluation(lines: Sequence[str]) -> Sequence[str]:
    """What comes after the first report of the end is only the noise of the other processes going down."""
    for number, line in enumerate(lines):
        if ENDED_BY_EXCEPTION in line:
            return lines[:number]
    return lines


def _by_rules(candidates: Iterable[Chain], rules: Iterable[Rule]) -> Verdict | None:
    pairs = ((rule, chain) for chain in candidates for rule in rules if rule.where(chain))
    return next((verdict for rule, chain in pairs if (verdict := _applied(rule, chain))), None)


def _applied(rule: Rule, chain: Chain) -> Verdict | None:
    for raised in reversed(chain):
        if found := rule.pattern.search(raised.text):
            words = {name: text or "" for name, text in found.groupdict().items()}
            return Verdict(rule.reason, rule.sentence.format(text=_message(raised), **words))
    return None


def _raised(raised: Raised) -> Verdict:
    return Verdict(Reason.EVALUATION_ERROR, f"the evaluation raised {_short(raised.text)}")


def _by_exit(evidence: Evidence) -> Verdict:
    if evidence.exit_code == 2 and (usage := _last(_USAGE_ERROR, evidence.lines)):
        return Verdict(Reason.BAD_ARGUMENTS, f"lmms-eval refused an argument: {_short(usage['text'])}")
    number = _signal_number(evidence)
    # Memory that is mapped from a full volume cannot be written to: a bus error, and no exception.
    if evidence.full.at_end and number in (0, signal.SIGBUS) and not _last(_NOT_SAVED, evidence.lines):
        return Verdict(Reason.DISK_FULL, f"lmms-eval ended with exit code {evidence.exit_code} and without results")
    if number:
        return Verdict(Reason.INTERRUPTED, f"lmms-eval was killed by {_signal_name(number)}")
    if said := not_saved(evidence.lines):
        reason = Reason.DISK_FULL if _NO_SPACE.search(said) else Reason.EVALUATION_ERROR
        return Verdict(reason, f"lmms-eval could not save its results: {said}")
    last_line = next((line for line in reversed(evidence.lines) if line.strip()), "nothing")
    return Verdict(
        Reason.EVALUATION_ERROR,
        f"lmms-eval ended with exit code {evidence.exit_code} and without results; the last it said: {_short(last_line)}",
    )


def _signal_number(evidence: Evidence) -> int:
    if evidence.exit_code < 0:
        return -evidence.exit_code
    if 128 < evidence.exit_code <= 128 + signal.NSIG:
        return evidence.exit_code - 128
    rank = _last(_SIGNAL_OF_A_RANK, evidence.lines)
    return int(rank["number"]) if rank else 0


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def not_saved(lines: Sequence[str]) -> str:
    """Why lmms-eval could not save results or samples, which it logs and does not raise; empty where it could."""
    number = next((number for number, line in enumerate(lines) if _NOT_SAVED.search(line)), None)
    return "" if number is None else _short(" ".join(lines[number + 1 : number + 2]).rpartition(" - ")[2]) or "no reason given"


def _last(pattern: re.Pattern[str], lines: Sequence[str]) -> re.Match[str] | None:
    return next((found for line in reversed(lines) if (found := pattern.search(line))), None)


def _message(raised: Raised) -> str:
    return _short(raised.message or raised.type)


def _short(text: str) -> str:
    """The first lines as one, cut to what a status can show."""
    line = " ".join(part.strip() for part in text.splitlines()[:3] if part.strip())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
