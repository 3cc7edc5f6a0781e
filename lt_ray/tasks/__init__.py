"""Tasks: data that are read, cut into splits, encoded once and batched; how they are measured."""
