"""The runner: our program in the evaluator (the container), which runs the harness (lmms-eval, unmodified)."""
