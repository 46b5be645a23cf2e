"""Runs the tests by tiers, beside each other where the machine has room, and tells what came of them."""
