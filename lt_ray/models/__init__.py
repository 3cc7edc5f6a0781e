"""Models: an nn.Module and two facts, its prunable tensors and its ordered blocks."""
