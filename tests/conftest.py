"""Fixtures of every room come from tests/support: real servers, and for a node without a machine its logs alone."""

import os

from hypothesis import settings

pytest_plugins = [
    "api_fixtures",
    "cluster_fixtures",
    "command_fixtures",
    "gateway_fixtures",
    "node_fixtures",
    "release_fixtures",
    "scheduling",
    "service_fixtures",
    "upstream_fixtures",
    "volume_fixtures",
]

# How long one example takes says more about the machine than about the code. Continuous integration judges a change by the same
# examples every time; a developer's run looks for new ones.
settings.register_profile("ours", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("ours")
