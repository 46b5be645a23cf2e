"""A real Kubernetes cluster for the demo and the tests: one command line, three providers (existing, kind, local)."""
