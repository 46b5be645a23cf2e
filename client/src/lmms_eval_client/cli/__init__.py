"""The command line: `lmmeval`, and as a plug-in `kubectl lmmeval`. Everything it does it does by
`lmms_eval_client.Client`.
"""
