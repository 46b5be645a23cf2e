from first_moment import asked_before_the_first_import


def test_a_request_to_end_is_heeded_from_the_first_moment() -> None:
    entry = "import runpy; runpy.run_module('lmms_eval_runner', run_name='__main__')"
    assert asked_before_the_first_import(entry) == "True\n"
