"""What became of the rows that were read: used, or skipped and why.

Nothing is dropped in silence: a row that cannot be used is counted by reason in a
`ReadReport`, which also remembers where the first such row is.
"""

from collections import Counter
from dataclasses import dataclass, field

from sdjax.errors import InputError


@dataclass
class ReadReport:
    """What was read, what had to be skipped and why, and how far reading has come.

    `read` counts all rows, skipped ones included. `position` and `total` are in
    `unit`: compressed input bytes ("B") for files, "examples" for the rest.
    """

    read: int = 0
    skipped: Counter = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    position: int = 0
    total: int = 0
    unit: str = "B"

    def skip(self, reason: str, place: str, count: int = 1) -> None:
        """Count a row that cannot be used; `place` is `file:line`."""
        self.skipped[reason] += count
        self.first.setdefault(reason, place)

    def add(self, other: "ReadReport") -> None:
        """Add the counts of what was read after this."""
        self.read += other.read
        self.skipped.update(other.skipped)
        for reason, place in other.first.items():
            self.first.setdefault(reason, place)

    def take(self) -> "ReadReport":
        """Give the counts since the last time, and start counting anew."""
        taken = ReadReport(self.read, self.skipped, self.first)
        self.read, self.skipped, self.first = 0, Counter(), {}
        return taken

    @property
    def kept(self) -> int:
        """How many rows could be used."""
        return self.read - self.skipped.total()

    def check(self, max_bad_fraction: float = 0.01) -> None:
        """Refuse a source of which too much had to be skipped.

        Raises:
            InputError: more than `max_bad_fraction` of the rows, or all, were skipped.
        """
        if self.kept <= 0:
            raise InputError(f"no usable text in the input: {self.summary()}")
        fraction = self.skipped.total() / self.read
        if fraction > max_bad_fraction:
            raise InputError(
                f"{fraction:.1%} of the rows are unusable, more than the "
                f"{max_bad_fraction:.1%} allowed: {self.summary()}; mend the input"
            )

    def summary(self) -> str:
        """Say in one line what was read and what was skipped."""
        parts = [
            f"{count:,} {reason} (first: {self.first[reason]})"
            for reason, count in self.skipped.most_common()
        ]
        line = f"read {self.read:,}; skipped {self.skipped.total():,}"
        return f"{line}: {', '.join(parts)}" if parts else line

    def as_json(self) -> dict:
        """Give the counts as a JSON object."""
        return {
            "read": self.read,
            "skipped": dict(self.skipped),
            "first": dict(self.first),
        }

    @classmethod
    def from_json(cls, counts: dict) -> "ReadReport":
        """Read what `as_json` gave."""
        return cls(counts["read"], Counter(counts["skipped"]), dict(counts["first"]))
