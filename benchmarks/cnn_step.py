"""One epoch's worth of training steps of the IMDb CNN against two references, as ratios in one run.

    make bench

- *logs' program*: Conv2d over (width × 100), masks multiplied into the weights, unfused Adam, random batches padded to
  their longest.
- *expert*: Conv1d, masks in place after the step, fused Adam, documents batched by length.
- *lt_ray*: the engine's own model, batches and step.

Steps of all three alternate (A B C A B C …), one thread, 40 % of the weights pruned; the ratio is of the means of
seconds a step. Before that, the three see one batch from equal weights and must find the same loss. Documents
have the lengths and the Zipf words of IMDb; no data set is needed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Cnn
from lt_ray.models.model import model_of
from lt_ray.pruning.masks import ZeroPruned
from lt_ray.tasks import text
from lt_ray.tasks.task import SPLITS
from lt_ray.training.randomness import generators

ROWS, BATCH, STEPS = 25_002, 64, 24
LOGS = "logs' program"
Step = Callable[[Tensor, Tensor], float]


def documents(
    mean: float = 5.4, deviation: float = 0.62, shortest: int = 12, longest: int = 2500, count: int = 6400
) -> text.Split:
    """Documents of log-normal length, IMDb's unless said otherwise, of Zipf words.

    - `mean`, `deviation`: of the logarithm of a document's tokens, before they are clipped
    """
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(mean, deviation, count), shortest, longest).astype(np.int64)
    words = 1 / np.arange(1, ROWS - 1)
    tokens = rng.choice(ROWS - 2, lengths.sum(), p=words / words.sum()).astype(np.int32) + 2
    return text.Split(tokens, np.concatenate([[0], np.cumsum(lengths)]), rng.integers(0, 2, count))


class Logs(nn.Module):
    """The research logs' CNN: Conv2d whose kernels are as wide as the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ROWS, 100, padding_idx=1)
        self.convolutions = nn.ModuleList(nn.Conv2d(1, 100, (width, 100)) for width in (3, 4, 5))
        self.output = nn.Linear(300, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, 1)."""
        words = self.embedding(F.pad(tokens, (0, 5), value=1)).unsqueeze(1)
        pooled = [F.relu(conv(words)).squeeze(3).amax(2) for conv in self.convolutions]
        logits: Tensor = self.output(F.dropout(torch.cat(pooled, 1), 0.5, self.training))
        return logits


class Expert(Logs):
    """Conv1d instead."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(100, 100, width) for width in (3, 4, 5))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, 1)."""
        words = self.embedding(F.pad(tokens, (0, 5), value=1)).transpose(1, 2)
        pooled = [F.relu(conv(words)).amax(2) for conv in self.convolutions]
        logits: Tensor = self.output(F.dropout(torch.cat(pooled, 1), 0.5, self.training))
        return logits


def stepper(model: nn.Module, masks: dict[str, Tensor], *, expert: bool) -> Step:
    """Return a training step."""
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.Adam(model.parameters(), fused=expert)
    zero = ZeroPruned(parameters, masks)

    def step(tokens: Tensor, labels: Tensor) -> float:
        torch.manual_seed(0)
        loss = F.binary_cross_entropy_with_logits(model(tokens).squeeze(1), labels.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if expert:
            zero()
        else:
            for name, parameter in parameters.items():
                parameter.data = parameter.data * masks[name].to(parameter.dtype)
        return float(loss.detach())

    return step


def endless(split: text.Split, length_batches: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield training batches for ever."""
    epoch = 0
    while True:
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(epoch)).numpy()
        yield from fed(split, order, BATCH, length_batches)
        epoch += 1


def fed(
    split: text.Split, order: np.ndarray[Any, np.dtype[np.int64]], size: int, length_batches: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's batches of a split."""
    data = text.TextData.of(dict.fromkeys(SPLITS, split), ("a", "b"), 0, text.PADDING)
    for batch in data.epoch(order, size, by_length=length_batches):
        yield batch.inputs, batch.targets


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    split = documents()
    described = model_of(Cnn(), Facts(rows=ROWS))
    weights = described.initial(generators(0, "init"))
    masks = {name: torch.rand(w.shape, generator=torch.Generator().manual_seed(1)) > 0.4 for name, w in weights.items()}
    ours = described.live(weights, None, torch.device("cpu"))
    models = {LOGS: Logs(), "expert": Expert(), "lt_ray": ours}
    for name, model in models.items():
        shaped = {n: w * masks[n] for n, w in weights.items()}
        if name == LOGS:
            shaped |= {n: w.transpose(1, 2).unsqueeze(1) for n, w in shaped.items() if w.dim() == 3}
        model.load_state_dict(shaped)
    logs_masks = {n: m.transpose(1, 2).unsqueeze(1) if m.dim() == 3 else m for n, m in masks.items()}
    steps = {
        name: stepper(model, logs_masks if name == LOGS else masks, expert=name != LOGS)
        for name, model in models.items()
    }
    first = next(endless(split, length_batches=True))
    losses = {name: step(*first) for name, step in steps.items()}
    assert max(losses.values()) - min(losses.values()) < 1e-5, losses
    feeds = {name: endless(split, length_batches=name != LOGS) for name in steps}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(STEPS):
        for name, step in steps.items():
            tokens, labels = next(feeds[name])
            started = time.perf_counter()
            step(tokens, labels)
            seconds[name].append(time.perf_counter() - started)
    mean = {name: statistics.fmean(values) for name, values in seconds.items()}
    table = Table(title=f"CNN training step, batch {BATCH}, one thread, {STEPS} alternating steps each; > 1 is faster")
    for column in ("", "× logs' program", "goal", "× expert", "goal"):
        table.add_column(column, justify="right" if column else "left")
    goals = {"lt_ray": ("8.1", "1.43")}
    for name in steps:
        goal = goals.get(name, ("", ""))
        table.add_row(name, f"{mean[LOGS] / mean[name]:.2f}", goal[0], f"{mean['expert'] / mean[name]:.2f}", goal[1])
    Console().print(table)


if __name__ == "__main__":
    main()
