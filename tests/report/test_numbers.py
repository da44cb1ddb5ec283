"""Typography is for the numbers that we format, never for names and texts."""

import ast
from pathlib import Path

import numpy as np
import pytest

from sdjax import report
from sdjax.features.trace import TracedText
from sdjax.report import write
from sdjax.report.numbers import MINUS, typeset


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [(-1.5, "+.2f", f"{MINUS}1.50"), (2, "+.3g", "+2"), (-1e-9, ".3g", None)],
)
def test_a_number_has_the_minus_sign(value, form, shown):
    assert typeset(value, form) == (shown or f"{MINUS}1e{MINUS}09")


def test_a_hyphen_in_a_class_stays_one():
    class Result:
        class top_unit:
            quantiles = {"sci-fi": {}, "non-fiction": {}}

    traced = TracedText("a", np.array([-1.25]), "sci-fi")
    ((low, _), (high, _)) = write._headed(Result, ([traced], [traced]))
    assert low.startswith("most non-fiction 1 ") and high.startswith("most sci-fi 1 ")
    for heading in (low, high):
        assert "labelled sci-fi" in heading
        assert heading.endswith(f"ends at {MINUS}1.25")


def test_nothing_but_a_number_is_typeset():
    """One place replaces hyphens, and it gets a number."""
    found = []
    for path in Path(report.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
                ".replace"
            ):
                if node.args and ast.unparse(node.args[0]) == "'-'":
                    found.append(path.name)
    assert found == ["numbers.py"]
