"""The window stream: complete, exact, and a pure function of the step."""

import pickle

import numpy as np
import pytest
import tiny

from sdjax.data.windows import Batch, Windows
from sdjax.errors import InputError


def shards_of(*sizes: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, n, dtype=np.uint8) for n in sizes]


def windows_of(shards, batch_size, window_size, **settings) -> Windows:
    return Windows(
        tiny.fake_corpus(*shards),
        "train",
        batch_size=batch_size,
        window_size=window_size,
        **settings,
    )


def assert_batches_equal(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_windows_of_a_small_shard_are_those_written_out_by_hand():
    windows = windows_of([np.arange(11, dtype=np.uint8)], 2, 3)
    assert len(windows) == windows.windows_per_epoch == 2
    # Ten bytes to predict, five a row: row 0 predicts 1..5, row 1 predicts 6..10.
    first, second = windows[0], windows[1]
    np.testing.assert_array_equal(first.tokens, [[0, 5], [1, 6], [2, 7], [3, 8]])
    np.testing.assert_array_equal(first.lengths, [3, 3])
    np.testing.assert_array_equal(first.reset, [True, True])
    np.testing.assert_array_equal(second.tokens, [[3, 8], [4, 9], [5, 10], [0, 0]])
    np.testing.assert_array_equal(second.lengths, [2, 2])
    np.testing.assert_array_equal(second.reset, [False, False])
    assert windows.padding == pytest.approx(2 / 12)


def test_a_batch_has_the_promised_shapes_and_dtypes():
    batch = windows_of(shards_of(100), 4, 5)[0]
    assert (batch.tokens.shape, batch.tokens.dtype) == ((6, 4), np.uint8)
    assert (batch.lengths.shape, batch.lengths.dtype) == ((4,), np.int32)
    assert (batch.reset.shape, batch.reset.dtype) == ((4,), np.bool_)


@pytest.mark.parametrize("window_size", [1, 4, 7, 64])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("sizes", [(9,), (41, 9, 64), (65, 10), (14, 200, 33, 50)])
def test_every_byte_after_the_first_of_each_shard_is_predicted_once(
    sizes, batch_size, window_size
):
    shards = shards_of(*sizes)
    windows = windows_of(shards, batch_size, window_size)
    read = []  # a shard is (inputs by row, targets by row)
    for step in range(len(windows)):
        tokens, lengths, reset = windows[step]
        assert reset.all() or not reset.any()
        if reset.all():
            read.append(([[] for _ in lengths], [[] for _ in lengths]))
        for row, length in enumerate(lengths):
            read[-1][0][row].extend(tokens[:length, row])
            read[-1][1][row].extend(tokens[1 : length + 1, row])
    inputs = sorted(bytes(sum(rows, [])) for rows, _ in read)
    targets = sorted(bytes(sum(rows, [])) for _, rows in read)
    assert targets == sorted(shard[1:].tobytes() for shard in shards)
    assert inputs == sorted(shard[:-1].tobytes() for shard in shards)
    assert windows.bytes_per_epoch == sum(sizes) - len(sizes)


@pytest.mark.parametrize("size", [9, 40, 41, 42, 97, 129])
def test_full_and_padded_windows_equal_a_byte_by_byte_reading(size):
    """Full windows are read through a strided view, the others by index."""
    (shard,) = shards_of(size)
    rows, length = 4, 8
    windows = windows_of([shard], rows, length)
    row_bytes = -(-(size - 1) // rows)
    for step in range(len(windows)):
        batch = windows[step]
        for row in range(rows):
            start = row * row_bytes + step * length
            end = min((row + 1) * row_bytes, size - 1)
            here = max(0, min(length, end - start))
            assert batch.lengths[row] == here
            known = batch.tokens[: here + 1, row] if here else batch.tokens[1:1, row]
            expected = shard[start : start + here + 1] if here else shard[:0]
            np.testing.assert_array_equal(known, expected)
            np.testing.assert_array_equal(batch.tokens[here + 1 :, row], 0)


def test_random_access_equals_reading_in_order():
    shards = shards_of(50, 71, 33)
    in_order = windows_of(shards, 3, 4)
    steps = range(3 * len(in_order))
    expected = [in_order[step] for step in steps]
    scattered = windows_of(shards, 3, 4)
    for step in np.random.default_rng(0).permutation(steps):
        assert_batches_equal(scattered[int(step)], expected[step])


def test_rows_carry_on_where_the_window_before_ended():
    windows = windows_of(shards_of(200), 4, 8)
    for step in range(1, len(windows)):
        before, here = windows[step - 1], windows[step]
        live = here.lengths > 0
        np.testing.assert_array_equal(here.tokens[0, live], before.tokens[-1, live])


def test_each_epoch_has_its_own_order_that_the_seed_fixes():
    shards = [np.full(9, index, np.uint8) for index in range(8)]

    def order(seed, epoch, **settings):
        windows = windows_of(shards, 8, 1, seed=seed, **settings)
        first = epoch * len(windows)
        return [int(windows[first + i].tokens[0, 0]) for i in range(len(windows))]

    assert order(0, 0) == order(0, 0)
    assert sorted(order(0, 0)) == sorted(order(0, 1)) == list(range(8))
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0, shuffle=False) == order(0, 3, shuffle=False) == list(range(8))


def test_a_shard_too_small_for_the_batch_is_refused():
    windows_of(shards_of(50, 9), 8, 4)
    with pytest.raises(InputError, match="9 bytes, too few for a batch of 9 rows"):
        windows_of(shards_of(50, 9), 9, 4)


def test_windows_before_the_first_do_not_exist():
    with pytest.raises(IndexError):
        windows_of(shards_of(50), 2, 4)[-1]


def test_a_prepared_corpus_is_read_whole(tmp_path):
    corpus = tiny.corpus(tmp_path / "corpus")
    windows = Windows(corpus, "valid", batch_size=4, window_size=32, shuffle=False)
    (shard,) = (corpus.read("valid", 0),)
    rows = [
        b"".join(
            windows[step].tokens[1 : windows[step].lengths[row] + 1, row].tobytes()
            for step in range(len(windows))
        )
        for row in range(4)
    ]
    assert b"".join(rows) == shard[1:].tobytes()


@pytest.mark.parametrize("sizes", [(97,), (41, 9, 64)])
def test_processes_that_read_their_own_rows_read_the_batch(sizes):
    """In order and together: what one process reads."""
    shards = shards_of(*sizes)
    whole = windows_of(shards, 8, 4)
    parts = [windows_of(shards, 8, 4, rows=range(i, i + 2)) for i in range(0, 8, 2)]
    assert {len(part) for part in parts} == {len(whole)}
    for step in range(2 * len(whole)):
        tokens, lengths, reset = zip(*(part[step] for part in parts), strict=True)
        joined = Batch(np.hstack(tokens), np.hstack(lengths), np.hstack(reset))
        assert_batches_equal(joined, whole[step])


def test_the_fingerprint_names_what_a_position_stands_for(tmp_path):
    corpus = tiny.corpus(tmp_path / "corpus")

    def fingerprint(**changes):
        settings = {"split": "train", "batch_size": 4, "window_size": 8, "seed": 0}
        return Windows(corpus, **(settings | changes)).fingerprint

    assert fingerprint() == fingerprint() == fingerprint(rows=range(2))
    others = [{"split": "valid"}, {"batch_size": 2}, {"window_size": 4}, {"seed": 1}]
    others.append({"shuffle": False})
    assert len({fingerprint(), *(fingerprint(**other) for other in others)}) == 6


def test_a_grain_pipeline_stops_and_goes_on_at_any_window(tmp_path):
    grain = pytest.importorskip("grain", reason="needs grain")
    corpus = tiny.corpus(tmp_path / "corpus")
    windows = Windows(corpus, "train", batch_size=4, window_size=16)
    assert isinstance(windows, grain.sources.RandomAccessDataSource)
    dataset = grain.MapDataset.source(windows).map(lambda batch: batch.tokens.copy())
    pipeline = dataset.to_iter_dataset(grain.ReadOptions(2, 4))
    iterator = iter(pipeline)
    for step in range(5):
        np.testing.assert_array_equal(next(iterator), windows[step].tokens)
    position = iterator.get_state()
    another = iter(pipeline)
    another.set_state(position)
    for step in range(5, len(windows)):
        np.testing.assert_array_equal(next(another), windows[step].tokens)
    with pytest.raises(StopIteration):
        next(another)


def test_windows_travel_to_another_process(tmp_path):
    """As Grain's workers get them."""
    corpus = tiny.corpus(tmp_path / "corpus")
    windows = Windows(corpus, "train", batch_size=4, window_size=16)
    windows[3]
    again = pickle.loads(pickle.dumps(windows))
    assert repr(again) == repr(windows) and windows.fingerprint in repr(windows)
    for step in (0, len(windows) + 1):
        assert_batches_equal(again[step], windows[step])
