import pytest

from lmms_eval_reporter.media_checks import read_webp_size

LOSSY = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x10\0\0\x9d\x01\x2a\x40\x01\xc8\x40"
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\x3f\x01\0\xc7\0\0"


@pytest.mark.parametrize(
    ("begin", "size"),
    [
        (LOSSY, (320, 200)),
        (EXTENDED, (320, 200)),
        (EXTENDED[:20] + b"\x12" + EXTENDED[21:], None),
        (LOSSY[:23] + bytes(7), None),
        (LOSSY[:29], None),
        (b"", None),
        (bytes(40), None),
    ],
)
def test_the_size_of_a_webp(begin: bytes, size: tuple[int, int] | None) -> None:
    assert read_webp_size(begin) == size
