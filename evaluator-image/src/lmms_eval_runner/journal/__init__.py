"""Lets a run go on at the answer where an earlier attempt ended: the journal inside lmms-eval's own process.

`progress` hands over the adapter when it is made; `attach` wraps its request methods. From then on:

    adapter_call     one call of the evaluator: batches, what is known of them, chunks of the others
    run_journal      the journal of this process: what earlier attempts have answered, and what this one adds
    upstream         all that is touched inside lmms-eval
    completions      for clients of OpenAI's kind: every completion is kept when it arrives
    fingerprint, weights, task_data    for which run an answer is good
    identity, packing, random_state, files, chunk_size    keys, answers and states as plain JSON, and the files
    request_arguments    what adapters write into requests

`failed_batches` is for the runner, once the process has ended. Upstream packages are imported where they are used, and
lmms-eval by `upstream` alone. The format is `lmms_eval_core.journal`.
"""
