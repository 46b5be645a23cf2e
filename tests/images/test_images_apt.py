"""Where this machine gets Debian from is read from apt's own words."""

from lmms_eval_images.apt import AptSource, parse_sources

LISTING = """\
Debian main http://mirror.test/debian bookworm
Debian main http://mirror.test/debian-security bookworm-security
Debian contrib http://mirror.test/debian bookworm
Debian main http://mirror.test/debian bookworm
Debian main http://mirror.test/debian trixie
Somebody main http://packages.test/apt bookworm
 main http://packages.test/flat /
"""


def test_only_this_debian_once_each_and_the_suite_itself_first() -> None:
    assert parse_sources(LISTING) == [
        AptSource("http://mirror.test/debian", "bookworm"),
        AptSource("http://mirror.test/debian-security", "bookworm-security"),
    ]


def test_a_machine_without_debian_sources_names_none() -> None:
    assert parse_sources("") == []
