"""The settings of a run: their defaults, what they may be, and how they are read."""
