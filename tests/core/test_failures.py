import pytest

from lmms_eval_core import failures
from lmms_eval_core.phases import FOLLOWS, TERMINAL, Phase, Reason, can_follow


def test_every_ending_has_one_row() -> None:
    reasons = [ending.reason for ending in failures.ENDINGS]
    codes = [ending.exit_code for ending in failures.ENDINGS if ending.exit_code is not None]
    assert len(reasons) == len(set(reasons))
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "ending", [ending for ending in failures.ENDINGS if ending.exit_code is not None], ids=lambda e: e.reason
)
def test_a_code_leads_back_to_its_reason(ending: failures.Ending) -> None:
    assert failures.find_by_exit_code(failures.find_exit_code(ending.reason)) == ending


@pytest.mark.parametrize("code", [1, 2, 137, 143, 255])
def test_a_code_outside_the_table_is_an_interruption(code: int) -> None:
    assert failures.find_by_exit_code(code).reason is Reason.INTERRUPTED


def test_what_only_the_cluster_can_tell_has_no_code() -> None:
    with pytest.raises(KeyError):
        failures.find_exit_code(Reason.NODE_LOST)


def test_terminal_phases_never_change() -> None:
    assert set(FOLLOWS) == set(Phase)
    assert not any(can_follow(before, after) for before in TERMINAL for after in Phase if before != after)
