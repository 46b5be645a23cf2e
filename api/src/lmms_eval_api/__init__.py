"""The HTTP front end: the routes of lmms-eval's own server, on LMMEvaluations."""
