"""A stand-in for the package of lmms-eval, to test everything around it: see `__main__`."""
