"""The front end beside lmms-eval's own server, in one run on the same cores: `python -m bench.front_end`, a part of
`make bench`.

Ours stands on a real API server; the original keeps its jobs in memory. Each serves from one core, wrk loads from the
other.
"""
