"""Reading ahead: in order, a bounded way, and never leaving a thread behind."""

import os
import signal
import threading
import time

import pytest

from sdjax.data.prefetch import Prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


def test_values_come_in_order_and_from_another_thread():
    def read(index):
        return index, threading.current_thread()

    with Prefetch(read, range(50)) as values:
        found = list(values)
    assert [index for index, _ in found] == list(range(50))
    assert {thread.name for _, thread in found} == {"sdjax-prefetch"}
    assert list(values) == []


def test_no_more_is_read_ahead_than_asked_for():
    read = []
    with Prefetch(read.append, range(100), ahead=3) as values:
        next(values)
        deadline = time.monotonic() + 5
        while len(read) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        # One was taken, three wait, one waits for room.
        assert len(read) == 5


def test_an_error_is_raised_where_its_value_is_asked_for():
    def read(index):
        if index == 2:
            raise ValueError("a damaged shard")
        return index

    with Prefetch(read, range(9)) as values:
        assert [next(values), next(values)] == [0, 1]
        with pytest.raises(ValueError, match="a damaged shard"):
            next(values)
        assert list(values) == []


@pytest.mark.parametrize("taken", [0, 1, 20])
def test_leaving_early_ends_the_thread(taken):
    with pytest.raises(RuntimeError, match="elsewhere"):
        with Prefetch(lambda i: i, range(10**9), ahead=2) as values:
            for _ in range(taken):
                next(values)
            raise RuntimeError("elsewhere")


def test_an_interrupt_while_waiting_ends_the_thread():
    """Ctrl-C reaches a caller who waits for a slow disk."""
    release = threading.Event()
    # In a process that runs tests beside others it would be ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def read(index):
        if index == 1:
            os.kill(os.getpid(), signal.SIGINT)
            release.wait(10)
        return index

    with pytest.raises(KeyboardInterrupt):
        with Prefetch(read, range(9)) as values:
            try:
                list(values)
            finally:
                release.set()
                signal.signal(signal.SIGINT, before)
