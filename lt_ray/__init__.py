"""Ray Tune sweeps of prune-retrain cycles."""
