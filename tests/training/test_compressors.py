"""Compressors are measured in bits per byte, as the model is."""

import bz2
import gzip
import lzma

import pytest

from sdjax.prepare import synthetic
from sdjax.training.evaluate import bits_by_compressor

DATA = "\n ".join(e.text for e in synthetic.reviews(100, 0)).encode()


def test_bits_are_those_of_the_tools_at_their_highest_level():
    assert bits_by_compressor(DATA) == {
        "gzip -9": 8 * len(gzip.compress(DATA, 9)) / len(DATA),
        "bzip2 -9": 8 * len(bz2.compress(DATA, 9)) / len(DATA),
        "xz -9": 8 * len(lzma.compress(DATA, preset=9)) / len(DATA),
    }


def test_text_takes_a_part_of_its_eight_bits_and_more_when_there_is_less_of_it():
    whole, start = bits_by_compressor(DATA), bits_by_compressor(DATA[:2000])
    assert all(0.5 < whole[name] < start[name] < 8 for name in whole)


def test_no_bytes_have_no_bits_per_byte():
    with pytest.raises(ValueError, match="no bytes"):
        bits_by_compressor(b"")
