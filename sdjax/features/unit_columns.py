"""Units that a user names, as columns of features."""

from collections.abc import Sequence

from sdjax.errors import InputError
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
    layer, _, number = unit.rpartition(":")
    try:
        place = int(layer) if layer else count - 1, int(number)
    except ValueError:
        raise InputError(
            f"unit {unit}: give the number of a unit, such as 2388, or LAYER:NUMBER"
        ) from None
    if not (0 <= place[0] < count and 0 <= place[1] < hidden):
        what = f"units 0 to {hidden - 1}"
        what += f" in each of the layers 0 to {count - 1}" if count > 1 else ""
        raise InputError(f"unit {unit}: the model has {what}")
    if featurizer.layers == "all":
        return place[0] * hidden + place[1]
    if place[0] < count - 1:
        raise InputError(
            f"unit {unit}: the features are those of the last layer, {count - 1}, alone"
        )
    return place[1]
