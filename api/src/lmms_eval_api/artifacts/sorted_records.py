"""Records of one width that stand in order, one behind the other. Pure."""

from bisect import bisect_left


def find_record(content: bytes, width: int, beginning: bytes) -> int | None:
    """Return the place of the first record that begins so."""

    def read_beginning(place: int) -> bytes:
        return content[place * width : place * width + len(beginning)]

    places = range(len(content) // width)
    place = bisect_left(places, beginning, key=read_beginning)
    return place if place < len(places) and read_beginning(place) == beginning else None
