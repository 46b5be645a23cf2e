"""Runs unmodified lmms-eval inside the evaluator pod and says what happened."""
