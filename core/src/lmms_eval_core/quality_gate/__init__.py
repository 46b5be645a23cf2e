"""The quality gate of an evaluation: has it lost more against its baseline than its rules accept? Pure.

`policy` is `spec.gate`, and `verdict` judges what `compare` found by it. Not to be confused with the scheduling gate of
a pod.
"""
