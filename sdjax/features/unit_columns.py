"""Units that a user names, as columns of features."""

from collections.abc import Sequence

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
