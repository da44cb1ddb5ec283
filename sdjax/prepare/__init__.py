"""Writing a corpus from reviews, on this machine or on Spark."""
