"""Images that a program can open: PNG files of noise, as large as wanted."""

import math
import random
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BYTES_PER_PIXEL = 3


def png(at_least: int = 0) -> bytes:
    """A square of noise; the file has `at_least` so many bytes. The same for the same number."""
    side = max(8, math.ceil(math.sqrt(at_least / BYTES_PER_PIXEL)))
    noise = random.Random(at_least)
    rows = b"".join(b"\0" + noise.randbytes(side * BYTES_PER_PIXEL) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
