"""Training steps of the research logs' LSTM and RNN against the logs' own way, as ratios in one run.

    .venv/bin/python benchmarks/lstm_step.py

- *logs' way*: one packed nn.LSTM or nn.RNN, random batches padded to their longest.
- *lt_ray*: the engine's own model on the same batches, and on documents batched by length.

Steps alternate (A B C A B C …), one thread; the ratio is of the sums of seconds of the processor, which other programs
disturb less than the clock's, each divided by the tokens trained. Before that, dropout off, both see one batch from
equal weights and must find the same loss. Documents have the lengths of AG-news and IMDb; no data set is needed. At
IMDb's lengths one step of the logs' LSTM takes minutes (torch's packed backward grows with the square of the longest
document), so only one is measured there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from cnn_step import BATCH, ROWS, documents, fed
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Lstm, Rnn
from lt_ray.models.model import model_of
from lt_ray.training.randomness import generators

LENGTHS = {"AG-news": (3.7, 0.25, 170, 8), "IMDb": (5.4, 0.62, 2500, 1)}
"""Mean and deviation of the logarithm, most tokens of a document, steps measured"""
LOGS = "logs' way"
Step = Callable[[Tensor, Tensor], float]


class Logs(nn.Module):
    """One packed torch layer for all layers."""

    def __init__(self, model: Lstm | Rnn) -> None:
        super().__init__()
        kind = nn.LSTM if isinstance(model, Lstm) else nn.RNN
        self.sides = 2 if model.bidirectional else 1
        self.embedding = nn.Embedding(ROWS, 100, padding_idx=1)
        between = model.dropout if model.layers > 1 else 0.0
        self.recurrent = kind(100, 256, model.layers, bidirectional=model.bidirectional, dropout=between)
        self.dropout = nn.Dropout(model.dropout)
        self.output = nn.Linear(256 * self.sides, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, 1)."""
        words = self.dropout(self.embedding(tokens))
        packed = pack_padded_sequence(words, (tokens != 1).sum(1), batch_first=True, enforce_sorted=False)
        state = self.recurrent(packed)[1]
        last = (state[0] if isinstance(state, tuple) else state)[-self.sides :]
        logits: Tensor = self.output(self.dropout(torch.cat(list(last), dim=1)))
        return logits


def stepper(model: nn.Module) -> Step:
    """Return a training step."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step(tokens: Tensor, labels: Tensor) -> float:
        loss = F.binary_cross_entropy_with_logits(model(tokens).squeeze(1), labels.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def ratios(model: Lstm | Rnn, mean: float, deviation: float, longest: int, steps: int) -> dict[str, float]:
    """Return how many times faster than the logs' way a token trains."""
    split = documents(mean, deviation, 5, longest)
    described = model_of(model, Facts(rows=ROWS))
    weights = described.initial(generators(0, "init"))
    ours = described.live(weights, None, torch.device("cpu"))
    logs = Logs(model)
    logs.load_state_dict(dict(zip(logs.state_dict(), weights.values(), strict=True)))
    order = np.random.default_rng(1).permutation(len(split))
    tokens, labels = next(fed(split, order, 8, length_batches=True))
    losses = [stepper(module.eval())(tokens, labels) for module in (logs, ours)]
    assert abs(losses[0] - losses[1]) < 1e-5, losses
    named = {LOGS: (stepper(logs.train()), False), "lt_ray": (stepper(ours.train()), False)}
    named["lt_ray, documents batched by length"] = (named["lt_ray"][0], True)
    feeds = {name: fed(split, order, BATCH, by_length) for name, (_, by_length) in named.items()}
    seconds, trained = dict.fromkeys(named, 0.0), dict.fromkeys(named, 0)
    for _ in range(steps):
        for name, (step, _) in named.items():
            tokens, labels = next(feeds[name])
            started = time.process_time()
            step(tokens, labels)
            seconds[name] += time.process_time() - started
            trained[name] += int((tokens != 1).sum())
    return {name: seconds[LOGS] / trained[LOGS] * trained[name] / seconds[name] for name in named}


def main() -> None:
    """Print the table of ratios."""
    torch.set_num_threads(1)
    columns = {
        f"{kind}, {corpus}": ratios(model, *lengths)
        for kind, model in (("LSTM", Lstm()), ("RNN", Rnn()))
        for corpus, lengths in LENGTHS.items()
    }
    table = Table(title=f"Training step, batch {BATCH}, one thread; × logs' way, > 1 is faster")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name in columns["LSTM, AG-news"]:
        table.add_row(name, *(f"{found[name]:.2f}" for found in columns.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
