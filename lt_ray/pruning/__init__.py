"""Tensors in, masks out; knows no cycle."""
