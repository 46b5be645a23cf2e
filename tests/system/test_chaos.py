"""Some minutes of `make chaos`, from one seed: everything is killed under a stream of evaluations, and every promise is kept."""

import pytest
from chaos import campaign, summary
from chaos.campaign import Campaign
from deployment import Kubectl

pytestmark = [pytest.mark.system, pytest.mark.outage]

# Its blows are of every kind but one (the shim's), and poison pills are among its evaluations.
SEED = 4507
SECONDS = 100.0


def test_nothing_is_lost_nothing_overlaps_and_every_state_is_true(node: Kubectl) -> None:
    outcome = campaign.run(Campaign(SEED, SECONDS), node, campaign.prepare())
    summary.show(outcome)
    assert outcome.good, (outcome.lost, outcome.overlapping, outcome.wrong)
    # A run in which little happened would prove little.
    assert outcome.submitted >= 6 and len(outcome.done) >= 6, outcome
