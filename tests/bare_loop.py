"""A bare prune-retrain loop: plain torch, numpy and hashlib, no lt_ray; the engine is checked against it.

Written from docs/methods.md: Conv1d, autograd, unfused optimizers, whole-tensor masks. Only the draws are the engine's:
each comes from the first 8 bytes of SHA-256 of "seed/purpose/counter/…".
"""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

PAD = 1


def derived(*parts):
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") // 2


def drawn(*parts):
    generator = torch.Generator()
    generator.manual_seed(derived(*parts))
    return generator


class BareCnn(nn.Module):
    def __init__(self, rows, embedding, filters, widths, dropout):
        super().__init__()
        self.embedding = nn.Embedding(rows, embedding, padding_idx=PAD)
        self.convolutions = nn.ModuleList([nn.Conv1d(embedding, filters, width) for width in widths])
        self.output = nn.Linear(filters * len(widths), 1)
        self.rate = dropout

    def forward(self, tokens):
        tokens = F.pad(tokens, (0, max(c.kernel_size[0] for c in self.convolutions)), value=PAD)
        words = self.embedding(tokens).transpose(1, 2)
        pooled = torch.cat([F.relu(conv(words)).max(dim=2).values for conv in self.convolutions], dim=1)
        return self.output(F.dropout(pooled, self.rate, self.training)).squeeze(1)


def initialise(model, seed, *purpose):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter, generator=drawn(seed, *purpose, name))
            else:
                parameter.zero_()
        model.embedding.weight[:2] = 0


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def prune_by_hand(weights, masks, fraction):
    """methods §2's local percentile rule, tensor by tensor."""
    smaller = {}
    for name, mask in masks.items():
        left = weights[name][mask].abs().double().numpy()
        threshold = np.percentile(left, 100 * fraction) if len(left) > 1 else -1
        smaller[name] = mask & (weights[name].abs().double() >= threshold)
    return smaller


def documents(split, indices):
    texts = [torch.from_numpy(split.tokens[split.offsets[i] : split.offsets[i + 1]].astype(np.int64)) for i in indices]
    return nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD), torch.tensor(split.labels[indices])


def mean_loss(model, split):
    """Example-weighted loss and accuracy."""
    model.eval()
    loss = correct = 0.0
    with torch.no_grad():
        for first in range(0, len(split), 37):
            tokens, labels = documents(split, np.arange(first, min(first + 37, len(split))))
            logits = model(tokens)
            loss += float(F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="sum"))
            correct += float(((logits >= 0) == (labels == 1)).sum())
    model.train()
    return loss / len(split), correct / len(split)


def train_bare(model, masks, data, seed, optimizer, epochs, batch_size):
    """Return [(train loss, validation loss, validation accuracy)] of the epochs, and the weights after each."""
    losses, weights = [], []
    for epoch in epochs:
        order = torch.randperm(len(data.split("train")), generator=drawn(seed, "order", epoch)).numpy()
        total = 0.0
        for step, first in enumerate(range(0, len(order), batch_size)):
            tokens, labels = documents(data.split("train"), order[first : first + batch_size])
            torch.manual_seed(derived(seed, "dropout", epoch, step))
            loss = F.binary_cross_entropy_with_logits(model(tokens), labels.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter[~masks[name]] = 0
            total += loss.item() * len(labels)
        losses.append((total / len(order), *mean_loss(model, data.split("validation"))))
        weights.append(snapshot(model))
    return losses, weights
