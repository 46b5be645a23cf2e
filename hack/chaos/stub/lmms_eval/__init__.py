"""A stand-in for the package of lmms-eval, for tests of everything around it: see `__main__`."""
