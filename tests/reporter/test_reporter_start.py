from first_moment import asked_before_the_first_import


def test_a_request_to_end_is_heeded_from_the_first_moment() -> None:
    assert asked_before_the_first_import("from lmms_eval_reporter.start import start; start()") == "True\n"
