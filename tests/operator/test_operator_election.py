"""The rules of the election: as a table, and under every delay, loss and pause that hypothesis can think of."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmms_eval_core.kube.lease import Register
from lmms_eval_operator.election import TIMING, Candidacy, Step

NOW = 1000.0
WHICH = st.integers(0, 2)
SECONDS = [0.1, 1.0, 2.5, TIMING.deadline - 0.1, TIMING.deadline, TIMING.lease - 0.1, TIMING.lease, 60.0]


def record(holder: str, version: int = 7) -> Register:
    return Register("lmms-eval-operator", holder, str(version))


def leader(age: float) -> Candidacy:
    """Whose last renewal was sent so long ago."""
    return Candidacy("me").after_write(record("me"), sent_at=NOW - age)


def candidate(holder: str, age: float) -> Candidacy:
    """Who saw the record change so long ago."""
    return Candidacy("me").after_read(record(holder), NOW - age)


ACQUIRE, RENEW, WAIT, STAND_DOWN = Step.ACQUIRE, Step.RENEW, Step.WAIT, Step.STAND_DOWN
TABLE = [
    ("it has read nothing yet", Candidacy("me"), WAIT, WAIT),
    ("nobody leads", candidate("", 0), ACQUIRE, WAIT),
    ("another leads", candidate("other", 0), WAIT, WAIT),
    ("another was silent for nearly as long as a lease", candidate("other", TIMING.lease - 0.1), WAIT, WAIT),
    ("another was silent for as long as a lease", candidate("other", TIMING.lease), ACQUIRE, WAIT),
    ("it was elected and not told", candidate("me", 0), ACQUIRE, WAIT),
    ("it leads", leader(0), RENEW, WAIT),
    ("its renewals fail", leader(TIMING.deadline - 0.1), RENEW, WAIT),
    ("its renewals have failed for too long", leader(TIMING.deadline), STAND_DOWN, STAND_DOWN),
    ("it slept, and another was elected", leader(0).after_read(record("other", 8), NOW), STAND_DOWN, STAND_DOWN),
    ("it gave up, and nobody was elected since", leader(TIMING.deadline).after_standing_down(), ACQUIRE, WAIT),
]


@pytest.mark.parametrize(("known", "step", "step_if_hung"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_steps(known: Candidacy, step: Step, step_if_hung: Step) -> None:
    assert known.decide(NOW, alive=True) is step
    assert known.decide(NOW, alive=False) is step_if_hung
    assert known.is_leading(NOW) is (step is RENEW)


def test_a_record_that_does_not_change_grows_old_and_any_change_makes_it_young() -> None:
    known = candidate("other", TIMING.lease)
    assert known.after_read(record("other"), NOW).decide(NOW, alive=True) is ACQUIRE
    assert known.after_read(record("other", 8), NOW).decide(NOW, alive=True) is WAIT


def test_a_term_goes_on_with_renewals_and_the_next_one_has_a_new_number() -> None:
    first = leader(3)
    renewed = first.after_write(record("me", 8), sent_at=NOW)
    assert (first.term, renewed.term, renewed.until) == (1, 1, NOW + TIMING.deadline)
    assert renewed.after_standing_down().after_write(record("me", 9), sent_at=NOW).term == 2


def test_three_calls_fit_into_the_deadline_and_takeovers_into_what_is_promised() -> None:
    assert TIMING.call * 3 <= TIMING.deadline < TIMING.lease
    assert TIMING.renew + TIMING.call + TIMING.retry < TIMING.deadline, "one renewal may fail"
    assert TIMING.lease + 2 * TIMING.retry + TIMING.call <= 15
    assert TIMING.retry <= 2


@dataclass
class Call:
    """A read, or a write that names a version. The server may do it, later, although nobody waits for it any more."""

    expects: str = ""
    answer: Register | None = None
    refused: bool = False


@dataclass
class Replica:
    """One candidate, and the call that it waits for."""

    known: Candidacy
    call: Call | None = None
    sent_at: float = 0.0
    alive: bool = True
    looked: bool = False


@dataclass
class Server:
    """The record."""

    holder: str = ""
    version: int = 1
    underway: list[tuple[str, Call]] = field(default_factory=list)

    def do(self, sender: str, call: Call) -> None:
        call.refused = bool(call.expects) and call.expects != str(self.version)
        if call.expects and not call.refused:
            self.holder, self.version = sender, self.version + 1
        call.answer = record(self.holder, self.version)


class Election(RuleBasedStateMachine):
    """Three replicas; requests and answers that come late or never; processes that sleep at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.server = Server()
        self.replicas = [Replica(Candidacy(name)) for name in "abc"]

    @rule(seconds=st.sampled_from(SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=WHICH)
    def one_does_a_round_without_trouble(self, which: int) -> None:
        """Whatever calls of before are still on their way."""
        replica = self.replicas[which]
        before, self.server.underway, replica.call = self.server.underway, [], None
        for _ in range(2):
            self.one_begins_a_step(which=which)
            while self.server.underway:
                self.server.do(*self.server.underway.pop())
                self.an_answer_arrives(which=which)
        self.server.underway = before

    @rule(which=WHICH)
    def one_begins_a_step(self, which: int) -> None:
        replica = self.replicas[which]
        step = replica.known.decide(self.now, alive=replica.alive)
        if step is STAND_DOWN:
            replica.known = replica.known.after_standing_down()
        elif replica.call is None:
            # A look comes before each attempt to be elected; here it may be long before.
            look = step is WAIT or (step is ACQUIRE and not replica.looked)
            self._send(replica, Call() if look else Call(expects=replica.known.record.resource_version))

    def _send(self, replica: Replica, call: Call) -> None:
        replica.call, replica.sent_at, replica.looked = call, self.now, not call.expects
        self.server.underway.append((replica.known.me, call))

    @precondition(lambda self: self.server.underway)
    @rule(data=st.data())
    def the_server_does_a_call(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.server.underway) - 1))
        self.server.do(*self.server.underway.pop(index))

    @rule(which=WHICH)
    def an_answer_arrives(self, which: int) -> None:
        replica = self.replicas[which]
        if replica.call is None or replica.call.answer is None:
            return
        call, answer, replica.call = replica.call, replica.call.answer, None
        if call.expects and not call.refused:
            replica.known = replica.known.after_write(answer, sent_at=replica.sent_at)
        elif call.expects:
            self._send(replica, Call())
        else:
            replica.known = replica.known.after_read(answer, self.now)

    @rule(which=WHICH, trouble=st.sampled_from(["time-out", "hangs", "turns", "label", "SIGTERM", "SIGKILL"]))
    def trouble(self, which: int, trouble: str) -> None:
        replica = self.replicas[which]
        if trouble == "time-out":
            replica.call = None
        elif trouble in ("hangs", "turns"):
            replica.alive = trouble == "turns"
        if trouble == "label" or (trouble == "SIGTERM" and self.server.holder == replica.known.me):
            self.server.holder = self.server.holder if trouble == "label" else ""
            self.server.version += 1
        if trouble in ("SIGTERM", "SIGKILL"):
            self.replicas[which] = Replica(Candidacy(replica.known.me + "'"))

    @invariant()
    def never_do_two_lead(self) -> None:
        leaders = [replica.known.me for replica in self.replicas if replica.known.is_leading(self.now)]
        assert len(leaders) <= 1, leaders

    def teardown(self) -> None:
        """Once all is well again, there is a leader after a lease and a few steps, and it remains the leader."""
        for replica in self.replicas:
            replica.alive = True
        for _ in range(round(TIMING.lease) + 12):
            self._a_second_passes()
        leaders = {self._a_second_passes() for _ in range(9)}
        assert len(leaders) == 1 and leaders != {""}, leaders

    def _a_second_passes(self) -> str:
        self.now += TIMING.retry
        for which in range(3):
            self.one_does_a_round_without_trouble(which=which)
        return next((replica.known.me for replica in self.replicas if replica.known.is_leading(self.now)), "")


Election.TestCase.settings = settings(max_examples=200, stateful_step_count=60)
TestElection = pytest.mark.search(Election.TestCase)
