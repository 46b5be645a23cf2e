"""The sidecar of the evaluator: run directory in, object store and status out."""
