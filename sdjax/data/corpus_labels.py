"""What a corpus's manifest says of its labels: their keys, the names of classes."""


def label_keys_of(source: dict) -> tuple[str, ...]:
    """Return the keys of the labels that reviews of a source have, () without any.

    Args:
        source: as it stands in a manifest.
    """
    keys = source.get("label_key")
    keys = keys if isinstance(keys, list) else [] if keys is None else [keys]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError(f"label_key is {keys!r}, no names")
    return tuple(keys)


def check_classes(names: object, label_keys: tuple[str, ...]) -> None:
    """Raise `ValueError` unless these are names of classes of these labels."""
    by_key = names if isinstance(names, dict) else {None: names or []}
    if isinstance(names, dict) != (len(label_keys) > 1 and names is not None):
        raise ValueError("classes are not those of its labels")
    if not by_key.keys() <= {None, *label_keys}:
        raise ValueError(f"classes are of {', '.join(map(str, by_key))}")
    for of_key in by_key.values():
        if not isinstance(of_key, list) or not all(isinstance(n, str) for n in of_key):
            raise ValueError(f"{of_key!r} are no names of classes")
