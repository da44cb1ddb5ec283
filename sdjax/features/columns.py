"""What the columns of features are: which state, pooled how, of which unit."""

from collections.abc import Mapping, Sequence

from sdjax.errors import InputError
from sdjax.model.classifier import Classifier

STATES = ("cell", "hidden")
POOLINGS = ("last", "mean", "max", "min")
# As they may be asked for: of the state that is asked for besides, or of their own.
POOLING_NAMES = (*POOLINGS, *(f"{s}:{kind}" for s in STATES for kind in POOLINGS))
LAYERS = ("last", "all")


def pooling_kinds(pooling: str | Sequence[str]) -> tuple[str, ...]:
    """Return the poolings that a name, or a list of names, stands for.

    A name may say of which state: "hidden:mean".

    Raises:
        InputError: there is no such pooling, one is named twice, or none is.
    """
    kinds = (pooling,) if isinstance(pooling, str) else pooling
    known = isinstance(kinds, list | tuple) and all(k in POOLING_NAMES for k in kinds)
    if not known or not kinds or len(set(kinds)) < len(kinds):
        raise InputError(
            f"pooling {pooling!r} does not exist: use one of {list(POOLINGS)}, or a"
            " list of different ones, such as hidden:mean and cell:last"
        )
    return tuple(kinds)


def state_and_pooling(kind: str, state: str) -> tuple[str, str]:
    """Split one of `pooling_kinds`; `state` is that of those which do not say."""
    own, _, name = kind.rpartition(":")
    return own or state, name


def feature_of(
    column: int, width: int, state: str, pooling: str | Sequence[str]
) -> tuple[int, str, str]:
    """Say what a column of features is: the unit, its state and how it is pooled.

    Args:
        column: its number.
        width: how many there are.
        state, pooling: as the features were asked for.
    """
    kinds = pooling_kinds(pooling)
    units = width // len(kinds)
    return column % units, *state_and_pooling(kinds[column // units], state)


def feature_names(
    state: str, pooling: str | Sequence[str], units: int, num_layers: int = 1
) -> list[str]:
    """Return the name of every feature: state, pooling, unit, as "cell_last_2388".

    Args:
        units: that the state has.
        num_layers: that they are of, side by side: `unit_label`.
    """
    labels = [unit_label(unit, units, num_layers) for unit in range(units)]
    kinds = (state_and_pooling(kind, state) for kind in pooling_kinds(pooling))
    return [f"{of}_{kind}_{label}" for of, kind in kinds for label in labels]


def unit_label(unit: int, units: int, num_layers: int = 1) -> str:
    """Say which unit it is: "2388", or "0:2388" of layer 0 where there are several.

    Args:
        unit: its index among `units`.
        num_layers: that the units are of, layer 0 first.
    """
    if num_layers == 1:
        return str(unit)
    layer, within = divmod(unit, units // num_layers)
    return f"{layer}:{within}"


def named_unit(
    text: str, num_layers: int, hidden_size: int, flag: str = "unit"
) -> tuple[int, int]:
    """Return the layer and the number of a unit, as a user writes it.

    Args:
        text: "2388", of the last layer, or "0:2388".
        num_layers, hidden_size: of the model.
        flag: what messages call it.

    Raises:
        InputError: it is written otherwise, or the model has no such unit.
    """
    *layer, number = text.split(":")
    try:
        place = int(layer[0]) if layer else num_layers - 1, int(number)
    except ValueError:
        place = None
    if place is None or len(layer) > 1:
        raise InputError(
            f"{flag} {text}: write it as 178, or as 1:178 in layer 1 of a stack"
        )
    if not (0 <= place[0] < num_layers and 0 <= place[1] < hidden_size):
        what = f"units 0..{hidden_size - 1}"
        if num_layers > 1:
            what += f" in each of the layers 0..{num_layers - 1}"
        raise InputError(f"{flag} {text}: the model has {what}")
    return place


def layers_within(metadata: Mapping) -> int:
    """Return how many layers' states features hold side by side."""
    return metadata["num_layers"] if metadata.get("layers") == "all" else 1


def unit_name(index: int, width: int, metadata: Mapping) -> str:
    """Name a feature: by its unit, `88`; if there are several poolings, `88 (mean)`."""
    units, pooling = metadata.get("units", width), metadata.get("pooling")
    label = unit_label(index % units, units, layers_within(metadata))
    if not isinstance(pooling, list) or units * len(pooling) != width:
        return label
    return f"{label} ({pooling[index // units]})"


def top_unit_name(classifier: Classifier) -> str | None:
    """Return what the report calls the top unit: "178", or "1:3" in a stack's layer 1.

    None where the classifier names none.
    """
    top = classifier.metadata.get("top_unit")
    if not top:
        return None
    return unit_name(top["index"], classifier.coef.shape[1], classifier.metadata)
