"""Chaos: evaluations by the dozen on a real node while everything is killed, and a judgement of what came of them."""
