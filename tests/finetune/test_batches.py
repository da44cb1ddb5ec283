"""Batches of labelled texts: every text once, equal lengths, no padding."""

from collections import Counter

import numpy as np
import pytest

from sdjax.finetune.batches import batches_per_epoch, spans, text_batches


def texts(count: int, longest: int, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    return [random.bytes(n) for n in random.integers(3, longest, count)]


def test_each_span_is_at_most_one_and_a_half_times_the_one_before():
    assert spans(2) == [2]
    assert spans(3) == [2, 3]
    assert spans(20) == [2, 3, 4, 6, 8, 12, 16, 20]
    found = np.array(spans(512))
    assert found[-1] == 512 and np.all(found[1:] <= 1.5 * found[:-1])


@pytest.mark.parametrize("batch_size", [1, 8, 50])
def test_every_text_once_and_whole(batch_size):
    encoded = texts(43, 300)
    seen = Counter()
    batches = list(text_batches(encoded, batch_size, 128, seed=3, epoch=0))
    assert len(batches) == batches_per_epoch(encoded, batch_size, 128)
    for batch in batches:
        assert batch.tokens.shape[1] == len(batch.rows) == batch_size
        size = len(batch.tokens)
        for column, row in enumerate(batch.rows):
            end = batch.tokens[:, column].tobytes()
            assert batch.before[column] + end == encoded[row]
            # The longest span that fits in the text.
            assert size == max(s for s in spans(128) if s <= len(encoded[row]))
        assert set(batch.weights) <= {0, 1}
        seen.update(batch.rows[batch.weights == 1].tolist())
    assert seen == dict.fromkeys(range(43), 1)


def test_the_order_is_a_function_of_seed_and_epoch():
    encoded = texts(40, 200)

    def order(seed, epoch):
        batches = text_batches(encoded, 4, 64, seed, epoch)
        return [batch.rows.tolist() for batch in batches]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2) != order(1, 2)
