"""What general-purpose compressors need for the same bytes, to compare a model with."""

import bz2
import gzip
import lzma


def bits_per_character(data: bytes) -> dict[str, float]:
    """Compress at the highest level; return bits per byte by compressor."""
    if not data:
        raise ValueError("there are no bytes to compress")
    compressed = {
        "gzip -9": gzip.compress(data, 9),
        "bzip2 -9": bz2.compress(data, 9),
        "xz -9": lzma.compress(data, preset=9),
    }
    return {name: 8 * len(out) / len(data) for name, out in compressed.items()}
