"""The users: submit without end, cancel, hold and take it back, reorder, delete. They ask until they are answered.

Their wishes are drawn from a seed. Which evaluation a wish meets, and when, also depends on how far the system is.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, NamedTuple

from deployment import CommandFailed, Deployment

from chaos.observer import Witness
from chaos.planned_evaluations import submissions
from chaos.records import Answer, Entry, Ledger, Refusal
from lmms_eval_core import names
from lmms_eval_core.phases import TERMINAL

Say = Callable[[str], None]
Object = dict[str, Any]
# So many evaluations are queued or running at any time.
OPEN: Final = 4
MEAN_GAP_SECONDS: Final = 12.0
PATIENCE_SECONDS: Final = 120.0
TICK: Final = 0.3
WISHES: Final = {"cancel": 4, "hold": 3, "priority": 3, "delete": 2}
# So long does anything stay on hold.
HOLD_SECONDS: Final = 15.0
# How schema and policies refuse. An API server that has just started also says "Forbidden", until it knows its policies.
FOR_GOOD: Final = (" denied request: ", " is invalid: ")


class Refused(Exception):
    """Admission does not take it, now or later; its sentence is the message."""


class Wish(NamedTuple):
    """What a user wants `after` seconds; `pick` in [0, 1) chooses whose evaluation it is."""

    after: float
    verb: str
    pick: float


def wishes(seed: int) -> Iterator[Wish]:
    """Wishes without end; the same ones for the same seed."""
    random = Random(f"{seed}/wishes")
    while True:
        after = random.expovariate(1 / MEAN_GAP_SECONDS)
        yield Wish(after, random.choices(list(WISHES), list(WISHES.values()))[0], random.random())


class People:
    """All users as one thread."""

    def __init__(self, release: Deployment, ledger: Ledger, witness: Witness, *, seed: int, say: Say) -> None:
        self._release, self._ledger, self._witness, self._say = release, ledger, witness, say
        self._submissions, self._wishes = submissions(seed), wishes(seed)
        self._held_until: dict[str, float] = {}
        self._due = time.monotonic()
        self._wish = next(self._wishes)

    def live(self, stop: threading.Event) -> None:
        """Until `stop`; then what is on hold is let go."""
        while not stop.wait(TICK):
            self._submit()
            self._release_holds(time.monotonic())
            if time.monotonic() - self._due >= self._wish.after:
                self._fulfil(self._wish)
                self._due, self._wish = time.monotonic(), next(self._wishes)
        self._release_holds(float("inf"))

    def _open(self) -> list[Entry]:
        """Evaluations that have not ended, as far as was seen."""
        return [entry for entry in self._ledger.entries.values() if not entry.deleted and not self._ended(entry)]

    def _ended(self, entry: Entry) -> bool:
        history = self._witness.states.get(entry.uid, [])
        return bool(history) and history[-1].phase in TERMINAL

    def _submit(self) -> None:
        if len(self._open()) >= OPEN:
            return
        submission = next(self._submissions)
        try:
            item = self._ask("create", "-f", "-", stdin=submission.manifest)
        except Refused as refused:
            self._ledger.refuse(Refusal(submission, str(refused)))
            self._say(f"submit {submission.name}, which is refused")
            return
        if item is None:
            item = self._ask("get", names.SINGULAR, submission.name)
        assert item is not None, f"{submission.name} was created, and is not there"
        self._ledger.add(Entry(submission, item["metadata"]["uid"]))
        self._say(f"submit {submission.name}")

    def _fulfil(self, wish: Wish) -> None:
        candidates = sorted(self._open(), key=lambda entry: entry.submission.name)
        if not candidates:
            return
        entry = candidates[int(wish.pick * len(candidates))]
        match wish.verb:
            case "cancel":
                self._cancel(entry)
            case "hold":
                self._hold(entry)
            case "delete":
                self._delete(entry)
            case "priority":
                self._reorder(entry, priority=int(wish.pick * 21) - 10)

    def _cancel(self, entry: Entry) -> None:
        if answer := self._patch(entry, cancel=True):
            entry.cancelled = entry.cancelled or answer
            self._tell("cancel", entry, answer)

    def _hold(self, entry: Entry) -> None:
        if entry.held is None and (answer := self._patch(entry, hold=True)):
            entry.held = answer
            self._held_until[entry.submission.name] = time.monotonic() + HOLD_SECONDS
            self._tell("hold", entry, answer)

    def _reorder(self, entry: Entry, *, priority: int) -> None:
        if answer := self._patch(entry, priority=priority):
            self._tell(f"priority {priority}", entry, answer, count="priority")

    def _delete(self, entry: Entry) -> None:
        entry.deleted = True
        self._ask("delete", names.SINGULAR, entry.submission.name, "--wait=false", "-o", "name")
        self._ledger.count("delete")
        self._say(f"delete {entry.submission.name}")

    def _release_holds(self, now: float) -> None:
        for name in [name for name, until in self._held_until.items() if until <= now]:
            del self._held_until[name]
            entry = self._ledger.entries[name]
            answer = None if entry.deleted else self._patch(entry, hold=False)
            if answer and entry.held:
                entry.started_on_hold |= entry.held.phase == "Queued" and answer.attempt > entry.held.attempt
                entry.held = None
                self._tell("take the hold back from", entry, answer, count="release")

    def _tell(self, verb: str, entry: Entry, answer: Answer, *, count: str = "") -> None:
        self._ledger.count(count or verb)
        self._say(f"{verb} {entry.submission.name}, which is {answer.phase}, attempt {answer.attempt}")

    def _patch(self, entry: Entry, **spec: Any) -> Answer | None:
        """Where the evaluation was when it was changed; None if it is gone."""
        patch = json.dumps({"spec": spec})
        item = self._ask("patch", names.SINGULAR, entry.submission.name, "--type=merge", "--patch", patch)
        status = item["status"] if item else {}
        return Answer(status["phase"], status.get("attempt", 0)) if item else None

    def _ask(self, *arguments: str, stdin: Object | None = None) -> Object | None:
        """The object that the API server answers with; None if it is gone, or was there already.

        Raises Refused for what admission does not take, and CommandFailed where it never answers.
        """
        given = None if stdin is None else json.dumps(stdin)
        command = ["--namespace", self._release.namespace, "--request-timeout=10s", *arguments]
        command += [] if "-o" in arguments else ["-o", "json"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            done = self._release.kubectl.run(*command, stdin=given)
            if done.returncode == 0:
                return dict(json.loads(done.stdout)) if done.stdout.startswith("{") else None
            if "(NotFound)" in done.stderr or "(AlreadyExists)" in done.stderr:
                return None
            if any(words in done.stderr for words in FOR_GOOD):
                raise Refused(done.stderr.strip())
            if time.monotonic() >= deadline:
                raise CommandFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
            time.sleep(TICK)
