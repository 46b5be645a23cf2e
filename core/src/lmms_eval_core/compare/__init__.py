"""Compares two evaluations document by document: is one better, worse, or are they not told apart? Pure.

`columns` pairs the documents of two indexes, and `difference` says what the pairs show; `distributions`, `corrections`
and `planning` are the statistics below and beside it. `facts` reads what a run says of itself, `findings` what speaks
against comparing two runs, and `tasks` puts everything together.
"""
