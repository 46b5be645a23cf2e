import pytest

from lmms_eval_core.media_types import BEGIN_BYTES, find_media_type

BEGINNINGS = {
    "image/png": [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"],
    "image/jpeg": [b"\xff\xd8\xff\xe0\0\x10JFIF", b"\xff\xd8\xff\xdb"],
    "image/gif": [b"GIF87a", b"GIF89a\x01\0"],
    "image/webp": [b"RIFF\n\0\0\0WEBPVP8 "],
    "video/mp4": [b"\0\0\0\x20ftypisom\0\0\2\0", b"\0\0\0\x18ftypmp42", b"\n\0\0\x18ftypM4V "],
    "video/webm": [b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm"],
    "audio/wav": [b"RIFF\n\0\0\0WAVEfmt "],
    "audio/ogg": [b"OggS\0\x02"],
    "audio/flac": [b"fLaC\0\0\0\x22"],
    "audio/mpeg": [b"ID3\x04\0\0", b"\xff\xfb\x90\x64"],
}
OTHERS = [
    b"",
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"<?xml version='1.0'?><svg/>",
    b"<!DOCTYPE html><script>alert(1)</script>",
    b" \x89PNG\r\n\x1a\n",
    b"\x89PNG<svg/>",
    b"\xef\xbb\xbf<html>",
    b"%PDF-1.7",
    b"PK\x03\x04",
    b"\0\0\0\x20ftypavif",
    b"\0\0\0\x20ftypheic",
    b"\0\0\0\x14ftypqt  ",
    b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska",
    b"\x1a\x45\xdf\xa3" + b"x" * BEGIN_BYTES + b"\x42\x82\x84webm",
    b"RIFF\n\0\0\0AVI ",
    b"RIFFWEBP",
    b"\xff\xfe<\0s\0v\0g\0",
    b"{}",
]


@pytest.mark.parametrize(("name", "begin"), [(name, begin) for name, found in BEGINNINGS.items() for begin in found])
def test_media_are_known_by_their_first_bytes(name: str, begin: bytes) -> None:
    found = find_media_type(begin + b"<script>")
    assert found is not None and found.name == name


@pytest.mark.parametrize("begin", OTHERS)
def test_nothing_else_is(begin: bytes) -> None:
    assert find_media_type(begin) is None
