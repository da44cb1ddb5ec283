"""The UTF-8 automaton accepts exactly what Python's decoder accepts."""

import itertools

import numpy as np

from sdjax.inference import grammar


def state_after(data: bytes) -> int:
    state = grammar.START
    for byte in data:
        state = grammar.NEXT[state, byte]
    return int(state)


def decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_it_agrees_with_the_decoder_on_all_pairs_and_many_longer_sequences():
    for pair in itertools.product(range(256), repeat=2):
        assert (state_after(bytes(pair)) == grammar.START) == decodes(bytes(pair))
    edges = (0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF)
    for first in range(0xC0, 0x100):
        for rest in itertools.product(edges, repeat=3):
            for size in (2, 3, 4):
                data = bytes([first, *rest])[:size]
                assert (state_after(data) == grammar.START) == decodes(data)


def test_missing_counts_the_bytes_to_the_end_of_the_character():
    for character in ("é", "ࠀ", "퟿", "€", "𐀀", "😀", "\U0010ffff"):
        data = character.encode()
        for size in range(1, len(data) + 1):
            assert grammar.MISSING[state_after(data[:size])] == len(data) - size


def test_every_allowed_byte_within_a_character_reduces_missing_by_one():
    for state in range(1, grammar.INVALID):
        after = grammar.NEXT[state]
        after = after[after != grammar.INVALID]
        assert len(after) and np.all(
            grammar.MISSING[after] == grammar.MISSING[state] - 1
        )
