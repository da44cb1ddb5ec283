"""Many threads, one scorer: every answer is what the scorer gives alone."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sdjax.errors import InputError
from sdjax.features import file as feature_file
from sdjax.inference.score_queue import (
    DeadlinePassed,
    QueueClosed,
    QueueFull,
    ScoreQueue,
)
from sdjax.inference.unit_scoring import open_scorer
from sdjax.probe import l1_probe

SECONDS = 60  # after which a test that hangs fails


@pytest.fixture(scope="module")
def scorers(tiny_run, tmp_path_factory):
    """What `open_scorer` opens: a classifier, and a unit of a checkpoint."""
    splits = [
        feature_file.load(tiny_run.features[s]) for s in ("train", "valid", "test")
    ]
    folder = tmp_path_factory.mktemp("queue") / "classifier"
    l1_probe.run_probe(*splits, n_jobs=1).classifier.save(folder)
    return {
        "classifier": open_scorer(folder, checkpoint=tiny_run.workdir),
        "unit": open_scorer(tiny_run.workdir, unit="3"),
    }


class Gate:
    """Holds the scorer before each batch until it is opened; notes what it reads."""

    def __init__(self, scorer, monkeypatch):
        self.batches, self.began, self._open = [], threading.Event(), threading.Event()
        self.error = None
        read = scorer.featurizer.transform_bytes

        def held(encoded):
            self.batches.append([data.decode().strip() for data in encoded])
            self.began.set()
            assert self._open.wait(SECONDS)
            if self.error is not None:
                raise self.error
            return read(encoded)

        monkeypatch.setattr(scorer.featurizer, "transform_bytes", held)

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()


@pytest.fixture
def held(scorers, monkeypatch):
    """A queue for four texts, whose scorer is reading the text `first`; its gate.

    Leaving the test opens the gate.
    """
    scorer = scorers["unit"]
    gate = Gate(scorer, monkeypatch)
    with ThreadPoolExecutor() as threads, ScoreQueue(scorer, capacity=4) as queue:

        def ask(*texts, **options):
            before = queue.waiting
            asked = threads.submit(queue.score_many, list(texts), **options)
            while queue.waiting < before + len(texts):
                assert not asked.done(), asked.result()
                time.sleep(0.001)
            return asked

        first = ask("first")
        assert gate.began.wait(SECONDS)
        try:
            yield queue, gate, ask, first
        finally:
            gate.open()


@pytest.mark.parametrize("kind", ["classifier", "unit"])
def test_every_thread_gets_what_the_scorer_gives_alone(kind, scorers):
    scorer = scorers[kind]
    rng = np.random.default_rng(0)
    requests = [
        [f"{n} " + "good " * int(rng.integers(0, 200)) for _ in range(n % 4)]
        for n in range(60)
    ]
    alone = [scorer.score(texts) for texts in requests]
    with ScoreQueue(scorer, batch_size=16) as queue, ThreadPoolExecutor(30) as threads:
        assert list(threads.map(queue.score_many, requests)) == alone


def test_what_waits_is_read_as_one_batch(held):
    _, gate, ask, first = held
    asked = [ask("a"), ask("b", "c")]
    gate.open()
    assert [len(each.result(SECONDS)) for each in (first, *asked)] == [1, 1, 2]
    assert gate.batches == [["first"], ["a", "b", "c"]]


def test_a_batch_is_no_larger_than_asked_for(held):
    queue, gate, ask, _ = held
    queue._most = 2
    asked = [ask("a"), ask("b"), ask("c")]
    gate.open()
    assert [each.result(SECONDS)[0].text for each in asked] == ["a", "b", "c"]
    assert gate.batches == [["first"], ["a", "b"], ["c"]]


def test_a_full_queue_refuses_at_once_and_takes_more_when_there_is_room(held):
    queue, gate, ask, first = held
    asked = ask("a", "b")
    with pytest.raises(QueueFull, match="3 texts are waiting and 2 more .* the 4 that"):
        queue.score_many(["c", "d"])
    last = ask("c")
    gate.open()
    for each in (first, asked, last):
        each.result(SECONDS)
    assert len(queue.score_many(["c", "d", "e", "f"])) == 4


def test_after_its_deadline_a_text_is_not_read(held):
    queue, gate, ask, first = held
    for _ in range(9):  # each leaves its place to the next
        with pytest.raises(DeadlinePassed, match="0.01 s"):
            queue.score_many(["late", "late", "late"], deadline=0.01)
    asked = ask("a")
    gate.open()
    assert asked.result(SECONDS)[0].text == "a"
    assert gate.batches == [["first"], ["a"]]


def test_a_text_that_is_being_read_keeps_its_place_after_its_deadline(held):
    queue, gate, ask, first = held
    gate.open()
    first.result(SECONDS)
    gate.close()
    late = ask("a", "b", "c", deadline=0.01)
    with pytest.raises(DeadlinePassed):
        late.result(SECONDS)
    assert queue.waiting == 3
    with pytest.raises(QueueFull):
        queue.score_many(["d", "e"])


def test_what_fails_reaches_all_who_wait_for_it_and_the_next_are_scored(held):
    queue, gate, ask, first = held
    gate.error = ValueError("the device is gone")
    asked = [ask("a"), ask("b", "c")]
    gate.open()
    for each in (first, *asked):
        with pytest.raises(ValueError, match="the device is gone"):
            each.result(SECONDS)
    gate.error = None
    assert queue.score_many(["d"])[0].text == "d"


def test_what_cannot_be_read_is_the_trouble_of_its_caller_alone(held):
    queue, gate, ask, first = held
    asked = ask("a")
    with pytest.raises(InputError, match="text 1 is None"):
        queue.score_many(["b", None])
    with pytest.raises(InputError, match="5 texts in one request: the queue holds 4"):
        queue.score_many(["b"] * 5)
    for deadline in (0, -1.0, float("nan")):
        with pytest.raises(InputError, match="deadline"):
            queue.score_many(["b"], deadline)
    gate.open()
    assert first.result(SECONDS) and asked.result(SECONDS)
    assert gate.batches == [["first"], ["a"]]


@pytest.mark.parametrize("name", ["capacity", "batch_size"])
def test_a_queue_of_nothing_is_refused(name, scorers):
    with pytest.raises(InputError, match=f"{name} is 0"):
        ScoreQueue(scorers["unit"], **{name: 0})


def test_a_closed_queue_scores_what_waits_and_takes_no_more(held):
    queue, gate, ask, first = held
    asked = ask("a")
    closing = threading.Thread(target=queue.close)
    closing.start()
    while not queue.closed:
        time.sleep(0.001)
    with pytest.raises(QueueClosed):
        queue.score_many(["b"])
    gate.open()
    closing.join(SECONDS)
    assert first.done() and asked.result(SECONDS)[0].text == "a"
    assert not any(thread.is_alive() for thread in queue._thread._threads)
    queue.close()


def test_tasks_of_an_event_loop_are_answered_refused_and_cancelled(held, scorers):
    queue, gate, _, first = held

    async def ask_all():
        score = queue.score_many_async
        cancelled = asyncio.create_task(score(["gone", "gone"]))
        await asyncio.sleep(0)
        asked = asyncio.create_task(score(["a"]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await score(["b"])
        cancelled.cancel()
        await asyncio.wait([cancelled])
        with pytest.raises(DeadlinePassed):
            await score(["late"], deadline=0.01)
        gate.open()
        return await asked

    scores = asyncio.run(asyncio.wait_for(ask_all(), SECONDS))
    assert first.result(SECONDS)
    assert gate.batches == [["first"], ["a"]]
    assert scores == scorers["unit"].score(["a"])
