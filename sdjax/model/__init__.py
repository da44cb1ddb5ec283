"""The language model: cell, loop over time, precision, and the linear classifier."""
