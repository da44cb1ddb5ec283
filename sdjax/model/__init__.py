"""The multiplicative LSTM: its precision, its loop over time, a classifier on it."""
