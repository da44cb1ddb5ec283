"""Probing: an L1 classifier on features, its top unit, and the baselines."""
