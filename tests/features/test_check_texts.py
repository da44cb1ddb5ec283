"""What Python's functions take for texts, and what they say of the rest."""

import numpy as np
import pyarrow as pa
import pytest

from sdjax.errors import InputError
from sdjax.features.featurizer import check_texts


class Series:
    """As polars and others have them: Arrow's columns by Arrow's interface alone."""

    def __init__(self, column):
        self._column, self.shape = column, (len(column),)

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.chunked_array([self._column]).__arrow_c_stream__(requested_schema)


class Objects:
    """As pandas has them: Python's objects, which Arrow may not be able to hold."""

    def __init__(self, *values):
        self._values, self.shape = values, (len(values),)

    def __iter__(self):
        return iter(self._values)

    def __arrow_c_stream__(self, requested_schema=None):
        column = pa.chunked_array([pa.array(self._values)])
        return column.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "b"],
        ("a", "b"),
        (c for c in "ab"),
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        pa.array(["a", "b"]),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.chunked_array([["a"], ["b"]]),
        Series(pa.array(["a", "b"])),
        Objects("a", "b"),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_a_column_of_texts(texts):
    assert check_texts(texts) == ["a", "b"]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("ab", "must be a list of strings, not 'ab'"),
        ({"a", "b"}, "must be a list of strings"),
        (None, "must be a list of strings"),
        (pa.table({"x": ["a"]}), r"shape \(1, 1\); give one column"),
        (np.array([["a"]]), r"shape \(1, 1\); give one column"),
        (pa.array([1]), "a column of int64 .*not of strings"),
        (pa.array([b"a"]), "a column of binary"),
        (Series(pa.array([0.5])), r"a column of double \(Series\)"),
        (pa.array(["a", None]), "text 1 is None .*1 of 2 are not.*drop or replace"),
        (Objects("a", 3), r"text 1 is 3 \(int\)"),
        (Objects("a", None), "text 1 is None"),
    ],
)
def test_what_is_no_column_of_texts(texts, words):
    with pytest.raises(InputError, match=words):
        check_texts(texts)
