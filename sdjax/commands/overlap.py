"""The flag and the warning of every command that measures on texts of test."""

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sdjax.terminal import show

if TYPE_CHECKING:
    from sdjax.features.file import FeatureSet


def add_drop_overlap(parser: argparse.ArgumentParser) -> None:
    """Add `--drop-overlap`."""
    parser.add_argument(
        "--drop-overlap",
        action="store_true",
        help="leave texts out of train and valid that are also in test",
    )


def without_overlap(
    splits: "Mapping[str, FeatureSet]", drop: bool
) -> "dict[str, FeatureSet]":
    """Warn of texts of test that are also in train or valid; leave them out if asked.

    Raises:
        InputError: nothing would be left.
    """
    from sdjax.probe import overlap

    found = overlap.find_overlap(splits)
    for line in overlap.warnings(splits, found):
        show(f"warning: {line}", file=sys.stderr)
    if not found or not any(rows.any() for rows in found.values()):
        return dict(splits)
    if not drop:
        show("--drop-overlap leaves them out of train and valid", file=sys.stderr)
        return dict(splits)
    for name, rows in found.items():
        show(f"{name}: {rows.sum():,} texts dropped, also in test", file=sys.stderr)
    return overlap.without(splits, found)
