"""Fixtures of every room come from tests/support: real servers, never stand-ins."""

from hypothesis import settings

pytest_plugins = ["api_fixtures", "cluster_fixtures", "gateway_fixtures", "release_fixtures"]

# How long one example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
