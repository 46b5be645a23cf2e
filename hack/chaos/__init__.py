"""Fault injection into a stream of evaluations on a real node, and the verification of how every evaluation ended."""
