"""Features become an L1 classifier, the unit, the baselines."""
