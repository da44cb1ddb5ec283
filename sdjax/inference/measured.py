"""What a classifier says, compared with labels where a file has them."""

from collections.abc import Mapping, Sequence

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
        self._right, self.labelled, self._others = 0, 0, set()

    def add(self, called: Sequence[str | None], labels: Sequence[float | None]) -> None:
        """Count some texts: what each is called, and its label where it has one."""
        for name, label in zip(called, labels, strict=True):
            if name is not None and label is not None:
                wanted = self._name(label)
                self.labelled += 1
                self._right += name == wanted
                self._others |= {wanted} - {*self._known}

    def as_json(self) -> dict:
        """Return the counts as a JSON object."""
        return {
            "right": self._right,
            "labelled": self.labelled,
            "others": sorted(self._others),
        }

    def take_up(self, counts: Mapping) -> None:
        """Add what `as_json` gave of other texts, or an empty object."""
        self._right += counts.get("right", 0)
        self.labelled += counts.get("labelled", 0)
        self._others |= set(counts.get("others", ()))

    def line(self) -> str:
        """Say in a line what was counted; "" without labels."""
        if not self.labelled:
            return ""
        share = self._right / self.labelled
        line = f"accuracy {share:.2%} of {self.labelled:,} labelled texts"
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
