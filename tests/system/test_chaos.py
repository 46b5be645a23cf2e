"""Some minutes of `make chaos` from one seed: nothing is lost, nothing overlaps, and no state is wrong."""

import pytest
from chaos import campaign, summary
from chaos.campaign import Campaign
from deployment import Kubectl

pytestmark = [pytest.mark.system, pytest.mark.outage]

# Every kind of fault but "kill shim" is among its faults, and poison pills are among its evaluations.
SEED = 4507
SECONDS = 100.0


def test_nothing_is_lost_nothing_overlaps_and_no_state_is_wrong(node: Kubectl) -> None:
    result = campaign.run_campaign(Campaign(SEED, SECONDS), node, campaign.prepare_images())
    summary.print_result(result)
    assert result.has_passed, (result.lost, result.overlapping, result.wrong_states)
    # A campaign in which little happened would prove little.
    assert result.submitted >= 6 and len(result.event_counts) >= 6, result
