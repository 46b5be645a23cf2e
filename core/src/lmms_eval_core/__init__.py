"""What every part of lmms-eval on Kubernetes agrees on.

The resource (`evaluation`), the HTTP wire (`wire`), the run directory (`run`), names, phases, failure classes, queue
order and artifact names. Pure: nothing here does I/O, except the two optional packages `kube` and `store`.
"""
