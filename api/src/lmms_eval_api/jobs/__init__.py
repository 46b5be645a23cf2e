"""Jobs, as lmms-eval's own server calls evaluations: submitted, cached, found, changed, shown and followed."""
