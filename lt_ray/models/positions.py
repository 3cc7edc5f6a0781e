"""Positions: how many tokens of a document a model can read."""

from __future__ import annotations

from torch import Tensor, nn

_TABLES = (
    "position_embeddings", "position_embedding", "embed_positions", "positions_embed", "wpe",
    "char_position_embeddings",
)  # fmt: skip
"""Names under which models keep a row for each position"""


def readable(module: nn.Module) -> int | None:
    """Return the tokens, special ones included, that a classifier can read of a document; None = any number [count].

    It is the rows of its table of positions, less those before the first token's (RoBERTa's follow the padding's row),
    and at most its configuration's `max_position_embeddings`. Rotary and relative positions have no table.
    """
    said = getattr(module.config, "max_position_embeddings", None)
    limits = [said] if isinstance(said, int) and said > 0 else []
    for name, table in module.named_modules():
        rows = getattr(table, "weight", None)
        if name.rpartition(".")[2] not in _TABLES or not isinstance(rows, Tensor):
            continue
        padding, offset = getattr(table, "padding_idx", None), getattr(table, "offset", 0)
        limits.append(len(rows) - (offset if padding is None else int(padding) + 1))
    return min(limits, default=None)
