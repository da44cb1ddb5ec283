"""One scorer for many threads: what they ask for at once is read as one batch."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from sdjax.errors import InputError
from sdjax.features.featurizer import check_texts
from sdjax.inference.scoring import Score, Scorer
from sdjax.inference.unit_scoring import UnitScorer
from sdjax.ranges import COUNT, POSITIVE


class QueueFull(Exception):
    """A refusal: as many texts as may wait are waiting already. Nothing was queued."""


class DeadlinePassed(TimeoutError):
    """The scores were not there in time; texts still waiting are not read any more."""


class QueueClosed(RuntimeError):
    """The queue was closed, and takes no texts."""


class _Request:
    """Texts that were asked for together, and the scores that they will get."""

    def __init__(self, texts: list[str], encoded: list[bytes]):
        self.texts, self.encoded = texts, encoded
        self.scores: Future[list[Score]] = Future()


class ScoreQueue:
    """Score the texts of many threads, or of an event loop, with one scorer.

    A thread of its own takes all requests that wait, up to a batch, and reads their
    texts together, sorted by length; what comes meanwhile is the next batch. Each
    request gets what `scorer.score` would have given it alone.

    Args:
        scorer: as `open_scorer` gives it; from now on only used through this queue.
        capacity: texts that may wait or be read at once, over all requests.
        batch_size: texts to read at once, unless one request has more. More of them
            means less padding, and a longer wait for the first.

    Raises:
        InputError: a number is out of range.
    """

    def __init__(
        self,
        scorer: Scorer | UnitScorer,
        *,
        capacity: int = 1024,
        batch_size: int = 256,
    ):
        for name, value in (("capacity", capacity), ("batch_size", batch_size)):
            if value not in COUNT:
                raise InputError(f"{name} is {value!r}: it must be {COUNT}")
        self._scorer, self._capacity, self._most = scorer, capacity, batch_size
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._texts = 0  # that wait or are being read
        self._reading = self._closed = False
        # Its thread ends with the interpreter, after what it has begun.
        self._thread = ThreadPoolExecutor(1, "sdjax-scores")

    def score_many(
        self, texts: Iterable[str], deadline: float | None = None
    ) -> list[Score]:
        """Score texts; return the scores in their order. Safe to call in any thread.

        Args:
            texts: as `TextFeaturizer.transform` takes them.
            deadline: seconds from now after which nobody waits for the scores any
                more; None waits for ever.

        Raises:
            InputError: a text cannot be read, there are more texts than the capacity,
                or the deadline is out of range.
            QueueFull: at once, where too many texts are waiting.
            DeadlinePassed: the scores were not there in time.
            QueueClosed: the queue is closed.
            Exception: what failed while the batch was scored, for all requests in it.
        """
        scores = self._add(texts, deadline)
        try:
            wait([scores], deadline)
            return _in_time(scores, deadline)
        finally:
            scores.cancel()  # nobody waits for them now

    async def score_many_async(
        self, texts: Iterable[str], deadline: float | None = None
    ) -> list[Score]:
        """Score texts without holding up the event loop; as `score_many`.

        A task that is cancelled, because its client has gone, gives its place up.
        """
        scores = self._add(texts, deadline)
        answer = asyncio.wrap_future(scores)
        try:
            await asyncio.wait([answer], timeout=deadline)
            return _in_time(scores, deadline)
        finally:
            scores.cancel()
            answer.cancel()

    @property
    def waiting(self) -> int:
        """How many texts wait or are being read."""
        return self._texts

    @property
    def closed(self) -> bool:
        """Whether it takes no texts any more."""
        return self._closed

    def close(self) -> None:
        """Take no more texts, score those that wait, and end the thread."""
        with self._lock:
            self._closed = True
        self._thread.shutdown()

    def __enter__(self) -> "ScoreQueue":
        return self

    def __exit__(self, *error):
        self.close()

    def _add(self, texts: Iterable[str], deadline: float | None) -> Future:
        if deadline is not None and deadline not in POSITIVE:
            raise InputError(f"deadline is {deadline!r} seconds: it must be {POSITIVE}")
        texts = check_texts(texts)
        if len(texts) > self._capacity:
            raise InputError(
                f"{len(texts):,} texts in one request: the queue holds"
                f" {self._capacity:,}; send fewer at once, or give it a larger capacity"
            )
        # Here, so that what cannot be read is the trouble of this caller alone.
        encoded = self._scorer.normalisation.encode_all(texts)
        request = _Request(texts, encoded)
        with self._lock:
            if self._closed:
                raise QueueClosed("the queue of the scorer is closed")
            if self._texts + len(texts) > self._capacity:
                raise QueueFull(
                    f"{self._texts:,} texts are waiting and {len(texts):,} more would"
                    f" be over the {self._capacity:,} that may: try again later"
                )
            if not self._reading:
                self._thread.submit(self._read_all)
                self._reading = True
            self._texts += len(texts)
            self._waiting.append(request)
        request.scores.add_done_callback(lambda _: self._leave(request))
        return request.scores

    def _leave(self, request: _Request) -> None:
        """Make room: a request was answered, or nobody waits for it any more."""
        with self._lock:
            self._texts -= len(request.texts)
            if request in self._waiting:
                self._waiting.remove(request)

    def _read_all(self) -> None:
        """Score batches until nobody waits."""
        while batch := self._next():
            try:
                answers = self._score(batch)
            except BaseException as error:
                for request in batch:
                    request.scores.set_exception(error)
            else:
                for request, scores in zip(batch, answers, strict=True):
                    request.scores.set_result(scores)

    def _next(self) -> list[_Request]:
        """Take the requests of a batch, the oldest first; none ends the reading."""
        batch, size = [], 0
        with self._lock:
            while self._waiting:
                size += len(self._waiting[0].texts)
                if batch and size > self._most:
                    break
                request = self._waiting.popleft()
                if request.scores.set_running_or_notify_cancel():
                    batch.append(request)
            self._reading = bool(batch)
        return batch

    def _score(self, batch: Sequence[_Request]) -> list[list[Score]]:
        encoded = [data for request in batch for data in request.encoded]
        features = self._scorer.featurizer.transform_bytes(encoded)
        answers, start = [], 0
        for request in batch:
            end = start + len(request.texts)
            answers.append(self._scorer.judge(request.texts, features[start:end]))
            start = end
        return answers


def _in_time(scores: Future, deadline: float | None) -> list[Score]:
    """Return scores, or raise what failed; refuse what is not there."""
    if not scores.done():
        raise DeadlinePassed(
            f"no scores within {deadline:g} s: give a later deadline, or send fewer"
            " texts at once"
        )
    return scores.result()
