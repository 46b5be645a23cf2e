"""Fixtures of every room come from tests/support: real servers, never stand-ins."""

pytest_plugins = ["api_fixtures", "cluster_fixtures", "gateway_fixtures", "release_fixtures"]
