"""Run as a process, with the path of a video and two sizes in pixels: prints what the video says of itself, and one
frame of it in each size, as WebP.

It takes a bounded amount of time and memory, opens nothing else, and decodes one frame: a video may never end.
"""

import json
import os
import resource
import sys
from typing import Any, Final

from .images import MAX_SOURCE_PIXELS, encode, shrink

CPU_SECONDS: Final = 20
MEMORY_BYTES: Final = 3 * 1024 * 1024 * 1024
# Containers; a playlist would name other files, and addresses.
FORMATS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"
MAX_SECONDS: Final = 1_000_000
# Packets that are looked at for a frame.
MAX_PACKETS: Final = 2000


def main() -> None:
    """Print the poster of the video that the argument names."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(19)
    path, display_pixels, thumb_pixels = sys.argv[1:]
    image, seconds = _decode(path)
    display = shrink(image, int(display_pixels))
    poster = [encode(shrink(display, int(thumb_pixels))), encode(display)]
    told = {"width": image.width, "height": image.height, "seconds": seconds, "thumb": len(poster[0])}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + b"".join(poster))


def _decode(path: str) -> tuple[Any, float | None]:
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    with open(path, "rb") as file, av.open(file, options=options) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        if stream.codec_context.width * stream.codec_context.height > MAX_SOURCE_PIXELS:
            raise ValueError("too large")
        seconds = container.duration / av.time_base if container.duration else None
        for number, packet in enumerate(container.demux(stream)):
            for frame in packet.decode():
                return frame.to_image(), seconds if seconds is not None and 0 < seconds <= MAX_SECONDS else None
            if number > MAX_PACKETS:
                break
    raise ValueError("no frame")


if __name__ == "__main__":
    main()
