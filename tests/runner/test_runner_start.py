from early_sigterm import probe_sigterm_before_imports


def test_a_request_to_end_is_heeded_from_the_first_moment() -> None:
    entry = "import runpy; runpy.run_module('lmms_eval_runner', run_name='__main__')"
    assert probe_sigterm_before_imports(entry) == "True\n"
