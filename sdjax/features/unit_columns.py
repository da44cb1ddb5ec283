"""Units that a user names, as columns of features."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from sdjax.errors import InputError
from sdjax.features.columns import named_unit
from sdjax.features.featurizer import TextFeaturizer


def unit_columns(units: Sequence[str], featurizer: TextFeaturizer) -> dict[str, int]:
    """Return the columns of units by their names, such as "cell_last_178".

    Args:
        units: each its number in the last layer, or LAYER:NUMBER.
        featurizer: that makes the features; a unit has a column for each of its
            poolings.

    Raises:
        InputError: there is no such unit among its features, or one is named twice.
    """
    names = featurizer.get_feature_names_out()
    places = [_place(unit, featurizer) for unit in units]
    found = {}
    for unit, place in zip(units, places, strict=True):
        for column in range(place, featurizer.width, featurizer.units):
            if names[column] in found:
                raise InputError(f"unit {unit} is named twice; name each unit once")
            found[str(names[column])] = column
    return found


def unit_values(
    units: Sequence[str], featurizer: TextFeaturizer
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return what makes a column for each unit of features float32[N, F].

    Takes and raises what `unit_columns` does.
    """
    chosen = unit_columns(units, featurizer)
    return lambda features: {name: features[:, at] for name, at in chosen.items()}


def all_units(features: np.ndarray) -> dict[str, pa.Array]:
    """Make one column, `features`, of features float32[N, F]: lists of a fixed size."""
    values = pa.array(features.ravel())
    return {"features": pa.FixedSizeListArray.from_arrays(values, features.shape[1])}


def _place(unit: str, featurizer: TextFeaturizer) -> int:
    """Return which unit of the state it is, of the last layer or of all."""
    model = featurizer.model
    count, hidden = model.num_layers, model.hidden_size
    layer, number = named_unit(unit, count, hidden)
    if featurizer.layers == "all":
        return layer * hidden + number
    if layer < count - 1:
        raise InputError(
            f"unit {unit}: the features are those of the last layer, {count - 1}, alone"
        )
    return number
