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

    `read` counts all rows, skipped ones included. `left_out` counts those that were
    not wanted (a label that `--label-map` names no class for): they are no fault of the
    input. `details` says more of the first row of a reason, and how to mend it.
    `position` and `total` are in `unit`: compressed input bytes ("B") for files,
    "examples" for the rest.
    """

    read: int = 0
    skipped: Counter = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    left_out: Counter = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    position: int = 0
    total: int = 0
    unit: str = "B"

    def skip(self, reason: str, place: str, count: int = 1, detail: str = "") -> None:
        """Count a row that cannot be used; `place` is `file:line`."""
        self.skipped[reason] += count
        if self.first.setdefault(reason, place) == place and detail:
            self.details.setdefault(reason, detail)

    def leave_out(self, reason: str) -> None:
        """Count a row that is as it should be and not wanted."""
        self.left_out[reason] += 1

    def add(self, other: "ReadReport") -> None:
        """Add the counts of what was read after this."""
        self.read += other.read
        self.skipped.update(other.skipped)
        self.left_out.update(other.left_out)
        for reason, place in other.first.items():
            if self.first.setdefault(reason, place) == place:
                if detail := other.details.get(reason):
                    self.details.setdefault(reason, detail)

    def take(self) -> "ReadReport":
        """Give the counts since the last time, and start counting anew."""
        taken = ReadReport(
            self.read, self.skipped, self.first, self.left_out, self.details
        )
        self.read, self.skipped, self.first = 0, Counter(), {}
        self.left_out, self.details = Counter(), {}
        return taken

    @property
    def kept(self) -> int:
        """How many rows could be used."""
        return self.read - self.skipped.total() - self.left_out.total()

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
                f"{max_bad_fraction:.1%} allowed: {self.summary()}; mend the input, or "
                "give the options that fit it"
            )

    def summary(self) -> str:
        """Say in one line what was read and what was skipped."""
        parts = [
            f"{count:,} {reason} ({self._first(reason)})"
            for reason, count in self.skipped.most_common()
        ]
        line = f"read {self.read:,}; skipped {self.skipped.total():,}"
        line = f"{line}: {', '.join(parts)}" if parts else line
        left = [f"{count:,} {why}" for why, count in self.left_out.most_common()]
        return f"{line}; left out {', '.join(left)}" if left else line

    def _first(self, reason: str) -> str:
        detail = self.details.get(reason)
        return f"first: {self.first[reason]}" + (f": {detail}" if detail else "")

    def as_json(self) -> dict:
        """Give the counts as a JSON object."""
        counts = {
            "read": self.read,
            "skipped": dict(self.skipped),
            "first": dict(self.first),
        }
        more = {"left_out": dict(self.left_out), "details": dict(self.details)}
        return counts | {key: value for key, value in more.items() if value}

    @classmethod
    def from_json(cls, counts: dict) -> "ReadReport":
        """Read what `as_json` gave."""
        return cls(
            counts["read"],
            Counter(counts["skipped"]),
            dict(counts["first"]),
            Counter(counts.get("left_out", {})),
            dict(counts.get("details", {})),
        )
