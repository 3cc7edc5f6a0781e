"""From a plan to its results, on Ray Tune or in this process; ray is imported here alone."""
