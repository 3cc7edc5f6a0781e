"""Wanda's calibration and selection against plain references, as ratios in one run.

    make bench

- *calibration*: norms of every linear layer's inputs over a padded batch, in one pass, against the same forward passes
  without them; four layers of BERT-base's width.
- *selection at 0.5*: `select` on a 3072 × 768 and a 768 × 3072 matrix against the paper's rule, a stable sort of each
  row of scores: torch.sort, as the paper's program, and numpy's, which is faster.

One thread; the jobs of a line alternate (A B A B …), the ratio is of the medians of processor seconds. First, all
selections must give the same masks, and calibration the last layer's mask by its recorded inputs; it is timed without a
selection.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from lt_ray.pruning import wanda
from lt_ray.rounds import calibration

SHARE = 0.5
BATCH, TOKENS, BATCHES, REPEATS = 8, 128, 2, 7
Job = Callable[[], object]


def seconds(jobs: Sequence[Job], repeats: int) -> list[float]:
    """Return the median seconds of the processor that each job takes, run in turn."""
    taken: list[list[float]] = [[] for _ in jobs]
    for _ in range(repeats):
        for job, times in zip(jobs, taken, strict=True):
            started = time.process_time()
            job()
            times.append(time.process_time() - started)
    return [statistics.median(times) for times in taken]


def by_torch(weight: Tensor, norms: Tensor, mask: Tensor, share: float) -> Tensor:
    """The paper's program, in float64: a stable sort of each row."""
    scores = (weight.double().abs() * norms).masked_fill_(~mask, -1)
    order = torch.sort(scores, dim=1, stable=True).indices
    return mask.scatter(1, order[:, : int(weight.shape[1] * share)], False)


def by_numpy(weight: Tensor, norms: Tensor, mask: Tensor, share: float) -> Tensor:
    """The same by numpy."""
    scores = np.abs(weight.numpy()) * norms.numpy()
    scores[~mask.numpy()] = -1
    order = np.argsort(scores, axis=1, kind="stable")
    after = mask.numpy().copy()
    np.put_along_axis(after, order[:, : int(weight.shape[1] * share)], False, axis=1)
    return torch.from_numpy(after)


def selection(table: Table, out: int, features: int) -> None:
    """Add the rows of one matrix, of which an earlier pruning took a twentieth."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(out, features, generator=generator) * 0.02
    norms = torch.rand(features, generator=generator, dtype=torch.float64) * 30 + 1
    known = weight, norms, torch.rand(out, features, generator=generator) > 0.05
    jobs: list[Callable[[], Tensor]] = [partial(way, *known, SHARE) for way in (wanda.select, by_torch, by_numpy)]
    ours, *theirs = [job() for job in jobs]
    assert all(torch.equal(ours, other) for other in theirs)
    own, *others = seconds(jobs, 15)
    for name, goal, other in zip(("torch.sort", "numpy.argsort"), ("≥ 8", ""), others, strict=True):
        table.add_row(f"select {out} × {features}", name, f"{own * 1e3:.1f}", f"{other / own:.1f}", goal)


def bert() -> tuple[nn.Module, list[nn.Module], list[Tensor]]:
    """Four layers of BERT-base's width, and token batches of which a quarter is padding."""
    generator = torch.Generator().manual_seed(0)
    module = BertForSequenceClassification(BertConfig(num_hidden_layers=4, vocab_size=1000)).eval()
    batches = []
    for _ in range(BATCHES):
        tokens = torch.randint(1, 1000, (BATCH, TOKENS), generator=generator)
        lengths = torch.linspace(TOKENS // 2, TOKENS, BATCH)
        batches.append(tokens * (torch.arange(TOKENS) < lengths[:, None]))
    return module, list(module.bert.encoder.layer), batches


def calibrate(table: Table) -> None:
    """Add the row of calibration."""
    module, blocks, batches = bert()

    def kept(tokens: Tensor) -> Tensor:
        return tokens > 0

    def forward(tokens: Tensor) -> Tensor:
        logits: Tensor = module(tokens, attention_mask=kept(tokens).long()).logits
        return logits

    @torch.no_grad()
    def plain() -> None:
        for tokens in batches:
            forward(tokens)

    def measured() -> dict[str, Tensor]:
        return calibration.input_norms(module, blocks, forward, batches, kept)

    masks = {name: torch.ones(p.shape, dtype=torch.bool) for name, p in module.named_parameters()}
    ours = calibration.one_pass_masks(module, measured(), masks, SHARE)

    recorded: list[Tensor] = []
    last = blocks[-1].output.dense
    handle = last.register_forward_pre_hook(lambda _layer, inputs: recorded.append(inputs[0]))
    plain()
    handle.remove()
    x = torch.cat([x[kept(tokens)] for x, tokens in zip(recorded, batches, strict=True)])
    name = next(name for name, parameter in module.named_parameters() if parameter is last.weight)
    assert torch.equal(ours[name], by_torch(last.weight.detach(), x.double().norm(dim=0), masks[name], SHARE))
    without, with_norms = seconds([plain, measured], REPEATS)
    table.add_row(
        "calibration, one pass", "forward alone", f"{with_norms * 1e3:.0f}", f"{with_norms / without:.2f}", "≤ 1.3"
    )


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    table = Table(title="Wanda, one thread; calibration: × its time; selection: × as fast")
    for column in ("", "reference", "ms", "×", "goal"):
        table.add_column(column, justify="right" if column in ("ms", "×", "goal") else "left")
    calibrate(table)
    selection(table, 3072, 768)
    selection(table, 768, 3072)
    Console().print(table)


if __name__ == "__main__":
    main()
