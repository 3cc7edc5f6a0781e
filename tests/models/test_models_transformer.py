"""The transformer against torch's own encoder layers."""

import pytest
import torch
from modelling import a_model
from torch import nn

from lt_ray.cycle.models import Transformer
from lt_ray.errors import ModelError
from lt_ray.training.randomness import generators

SMALL = Transformer(embedding=8, layers=3, heads=2, hidden=12, positions=9, dropout=0.3)
CPU = torch.device("cpu")


def made(kept=None):
    model = a_model(SMALL, 40, 3)
    state = model.initial(generators(0, "init"))
    for name, tensor in state.items():
        if tensor.dim() == 1:
            tensor += 0.3 * torch.randn(tensor.shape, generator=generators(1, "noise")(name))
    return model.live(model.cut(state, kept or model.blocks), kept or model.blocks, CPU).eval()


def torchs(module: nn.Module, tokens: torch.Tensor, kept) -> torch.Tensor:
    """The same network of torch's pre-norm layers, with the module's weights."""
    padding = tokens == 1
    states = module.embedding.weight[tokens] + module.positions.weight[: tokens.shape[1]]
    for place in kept:
        block = module.blocks[place]
        layer = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", batch_first=True, norm_first=True).eval()
        maps = (block.query, block.key, block.value)
        layer.self_attn.in_proj_weight.data = torch.cat([each.weight for each in maps]).detach()
        layer.self_attn.in_proj_bias.data = torch.cat([each.bias for each in maps]).detach()
        theirs = (layer.self_attn.out_proj, layer.linear1, layer.linear2, layer.norm1, layer.norm2)
        ours = (block.out, block.up, block.down, block.attention_norm, block.mlp_norm)
        for one, other in zip(theirs, ours, strict=True):
            one.load_state_dict(other.state_dict())
        states = layer(states, src_key_padding_mask=padding)
    return module.output(torch.stack([s[~gap].mean(0) for s, gap in zip(module.norm(states), padding, strict=True)]))


@pytest.mark.parametrize("kept", [(0, 1, 2), (0, 2), (1,)])
def test_logits_are_those_of_torchs_layers(kept):
    """With any of its blocks, logits equal those of torch's pre-norm encoder layers that have its weights."""
    tokens = torch.randint(2, 40, (3, 9), generator=torch.Generator().manual_seed(2))
    tokens[1, 4:] = tokens[2, 1:] = 1
    with torch.no_grad():
        torch.testing.assert_close(made(kept)(tokens), torchs(made(), tokens, kept), rtol=1e-5, atol=1e-5)


def test_a_document_longer_than_the_positions_is_refused():
    """Ten tokens for nine positions are an error that names both; nine pass."""
    made()(torch.full((1, 9), 5))
    with pytest.raises(ModelError, match=r"at most `model.positions` tokens, but got \(tokens=10, positions=9\)"):
        made()(torch.full((1, 10), 5))


def test_parameter_count_of_the_transformer():
    """Words, positions, four blocks of four square maps, an MLP and two norms, a last norm, and the output."""
    block = 4 * (128 * 128 + 128) + (128 * 512 + 512) + (512 * 128 + 128) + 2 * 2 * 128
    by_hand = 25_002 * 128 + 512 * 128 + 4 * block + 2 * 128 + (128 + 1)
    model = a_model(Transformer(), 25_002)
    assert sum(model.sizes.values()) == by_hand
    assert model.block_size == block
    assert len(model.linear_names) == 4 * 6
