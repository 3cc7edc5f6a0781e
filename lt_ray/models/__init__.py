"""Models: torch modules, how their weights are drawn, how they are cut shorter and exported."""
