"""Reading ahead of the model, and writing behind it."""

import threading

import pytest

from sdjax.features.overlap import Behind, ahead


def test_items_come_in_their_order_from_another_thread():
    threads = set()

    def items():
        for n in range(5):
            threads.add(threading.get_ident())
            yield n

    with ahead(items()) as found:
        assert list(found) == [0, 1, 2, 3, 4]
    assert threading.get_ident() not in threads


def test_what_reading_raises_is_raised_after_what_was_read():
    def items():
        yield 1
        raise KeyError("x")

    with ahead(items()) as found:
        assert next(found) == 1
        with pytest.raises(KeyError):
            next(found)


def test_calls_are_made_in_order_and_all_before_the_end():
    called = []
    with Behind() as behind:
        for n in range(5):
            behind(called.append, n)
    assert called == list(range(5))


def test_what_a_call_raises_is_raised_at_the_next_or_at_the_end():
    with pytest.raises(ZeroDivisionError), Behind() as behind:
        behind(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        with Behind() as behind:
            behind(lambda: 1 / 0)
            behind(lambda: None)
            pytest.fail("the second call begins although the first one failed")
    # What fails in the block itself is not hidden by what a call raises.
    with pytest.raises(KeyError), Behind() as behind:
        behind(lambda: 1 / 0)
        raise KeyError("x")
