"""What a classifier says, compared with labels where a file has them."""

from collections.abc import Sequence

from sdjax.inference.scoring import Score

# What classes of the labels 0 and 1 are called.
_BY_SIGN = {("negative", "positive"), ("below", "above")}


class Measured:
    """Counts how often the called class is the label.

    Args:
        known: the classes that a text may be called.
        classes: what labels 0, 1, ... are called; None where they are numbers.
    """

    def __init__(self, known: Sequence[str], classes: Sequence[str] | None):
        self._known, self._names = tuple(known), classes
        self._right, self._labelled, self._others = 0, 0, set()

    def add(
        self, scores: Sequence[Score], labels: Sequence[float | None]
    ) -> list[str | None]:
        """Count some texts; return the names of their labels."""
        names = [None if label is None else self._name(label) for label in labels]
        for score, name in zip(scores, names, strict=True):
            if name is not None:
                self._labelled += 1
                self._right += score.called == (name,)
                self._others |= {name} - {*self._known}
        return names

    def line(self) -> str:
        """Say in a line what was counted; "" without labels."""
        if not self._labelled:
            return ""
        share = self._right / self._labelled
        line = f"accuracy {share:.2%} of {self._labelled:,} labelled texts"
        if self._others:
            others = ", ".join(sorted(self._others)[:8])
            line += (
                f"; the labels {others} are none of the classes "
                f"{', '.join(self._known)}: give --label-map"
            )
        return line

    def _name(self, label: float) -> str:
        if self._names is not None and 0 <= label < len(self._names):
            return self._names[int(label)]
        if self._known in _BY_SIGN and label in (-1, 0, 1):
            return self._known[int(label > 0)]
        return f"{label:.9g}"
