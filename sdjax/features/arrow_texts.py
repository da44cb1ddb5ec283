"""A column of Arrow's, of whatever library, as Python values."""

import pyarrow as pa

from sdjax.errors import InputError


def of_arrow(column: object) -> list:
    """Return the values of a column that gives itself by Arrow's PyCapsule interface.

    Args:
        column: a pyarrow Array or ChunkedArray, a polars Series, and so on.

    Raises:
        InputError: it is a table of several columns, or has no strings.
    """
    try:
        if hasattr(column, "__arrow_c_array__"):
            values = pa.array(column)
        else:
            values = pa.chunked_array(column)
    except (pa.ArrowException, TypeError, ValueError):
        return list(column)  # pandas has columns of Python's objects
    kind = values.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not (pa.types.is_null(kind) or any(is_text(kind) for is_text in texts)):
        raise InputError(
            f"texts are a column of {kind} ({type(column).__name__}), not of strings;"
            " give one column of strings"
        )
    return values.to_pylist()
