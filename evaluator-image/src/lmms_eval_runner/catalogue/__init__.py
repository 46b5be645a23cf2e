"""What this image knows: every task, group and tag of lmms-eval, and every model with whether it can be imported here.

`python -m lmms_eval_runner.catalogue` writes it as `core.catalogue` into the run directory. `tasks` reads task files,
`models` tries the adapters, each in a process of its own (`trial`).
"""
