"""CKA between all pairs of blocks against the way of torch_cka, as ratios in one run.

    make bench

- *torch_cka's way*: for each ordered pair of blocks, the second one's Gram matrix anew, and two HSICs by products of
  n × n matrices, of which only traces and sums are wanted; float32. Its hooks and its model are left out.
- *lt_ray*: `MinibatchCka`; each block centred and its Gram matrix once, all pairs by one product.

2,000 samples of 768 features in batches of 256, one thread. The two alternate batch by batch, each batch being new to
both; the ratio is of the medians of seconds a batch. Before that, both see one batch and must find the same
matrix within 5e-5. Features have a mean of 0: at large means torch_cka's way, which does not centre, gives no number.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lt_ray.pruning.similarity import MinibatchCka, centred_gram

SAMPLES, FEATURES, BATCH = 2_000, 768, 256
CASES = ((12, 3, 15), (50, 1, 40))
"""Blocks, passes over the samples, goal"""


class PublishedCka:
    """The estimator of `MinibatchCka` computed pair by pair, as torch_cka computes it."""

    def __init__(self, blocks: int) -> None:
        self.sums = torch.zeros(3, blocks, blocks)

    def add(self, features: list[Tensor]) -> None:
        """Add one batch, per block (n, d)."""
        for i, rows in enumerate(features):
            first = gram(rows)
            self.sums[0, i, :] += hsic(first, first)
            for j, columns in enumerate(features):
                second = gram(columns)
                self.sums[1, i, j] += hsic(first, second)
                self.sums[2, i, j] += hsic(second, second)

    def matrix(self) -> Tensor:
        """Return CKA (L, L)."""
        return self.sums[1] / (self.sums[0].sqrt() * self.sums[2].sqrt())


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix (n, n) without its diagonal."""
    return (features @ features.T).fill_diagonal_(0)


def hsic(k: Tensor, m: Tensor) -> float:
    """Return the unbiased HSIC, each term by matrix products."""
    n = len(k)
    one = torch.ones(n, 1)
    total = torch.trace(k @ m)
    total += ((one.T @ k @ one @ one.T @ m @ one) / ((n - 1) * (n - 2))).item()
    total -= ((one.T @ k @ m @ one) * 2 / (n - 2)).item()
    return (total / (n * (n - 3))).item()


def batches(blocks: int, seed: int) -> Iterator[list[Tensor]]:
    """Yield features of a residual stack: each block adds a little to the one before."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, SAMPLES, BATCH):
        state = torch.randn(min(BATCH, SAMPLES - start), FEATURES, generator=generator)
        features = [state]
        for _ in range(blocks - 1):
            features.append(features[-1] + 0.3 * torch.randn(state.shape, generator=generator))
        yield features


def medians(blocks: int, passes: int) -> tuple[float, float]:
    """Return the median seconds a batch takes torch_cka's way and ours."""
    published, ours = PublishedCka(blocks), MinibatchCka(blocks)
    ways = published.add, lambda features: ours.add([*map(centred_gram, features)])
    seconds: tuple[list[float], list[float]] = [], []
    for seed in range(passes):
        for features in batches(blocks, seed):
            for way, taken in zip(ways, seconds, strict=True):
                started = time.perf_counter()
                way(features)
                taken.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def largest_difference(blocks: int) -> float:
    """Return how far the two matrices of one batch are apart."""
    published, ours = PublishedCka(blocks), MinibatchCka(blocks)
    features = next(batches(blocks, seed=0))
    published.add(features)
    ours.add([*map(centred_gram, features)])
    return float((published.matrix() - ours.matrix()).abs().max())


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    title = (
        f"CKA of all pairs, {SAMPLES:,} samples of {FEATURES} features in batches of {BATCH}, one thread; ms a batch"
    )
    table = Table(title=title)
    for column in ("blocks", "torch_cka's way, ms", "lt_ray, ms", "ratio", "goal", "apart"):
        table.add_column(column, justify="right")
    for blocks, passes, goal in CASES:
        apart = largest_difference(blocks)
        assert apart <= 5e-5, apart
        published, ours = medians(blocks, passes)
        cells = f"{1e3 * published:.0f}", f"{1e3 * ours:.1f}", f"{published / ours:.1f}", f"≥ {goal}", f"{apart:.0e}"
        table.add_row(str(blocks), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
