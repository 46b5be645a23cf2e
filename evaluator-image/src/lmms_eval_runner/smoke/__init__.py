"""The smoke model and task: everything a real evaluation needs, made in code, for a run offline on a CPU.

Written into the evaluator image by `python -m lmms_eval_runner.smoke DEST`. Nothing here imports the rest of the
runner, so that the image's layer with the generated files depends on this folder alone.
"""
