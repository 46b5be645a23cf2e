"""Python client of the lmms-eval front end."""
