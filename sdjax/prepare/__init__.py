"""Reviews become a corpus: everything that writes one, on this machine or on Spark."""
