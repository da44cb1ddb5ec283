"""Models on disk: a run's own, published ones, and in convert/ other projects'."""
