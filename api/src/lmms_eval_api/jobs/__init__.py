"""Jobs, which are LMMEvaluations in the words of lmms-eval's server: submitted, cached, found, changed, shown and followed."""
