"""Runs LMMEvaluations one at a time on the GPU, as Kubernetes Jobs."""
