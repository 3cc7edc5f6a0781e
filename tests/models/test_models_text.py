"""The text models against plain autograd and the research logs' parameter counts."""

import pytest
import torch
import torch.nn.functional as F
from modelling import a_model

from lt_ray.cycle.models import Cnn
from lt_ray.training.randomness import generators


@pytest.mark.parametrize(("rows", "parameters"), [(25_002, 2_620_801), (50_002, 5_120_801)])
def test_parameter_counts_of_the_logs_cnn(rows, parameters):
    """The CNN has methods §2's parameters: 2,620,801 with 25,002 rows and one output."""
    assert sum(a_model(Cnn(), rows).sizes.values()) == parameters


def make(targets=2):
    model = a_model(Cnn(embedding=7, filters=6, widths=(1, 3, 4), dropout=0.4), 40, targets)
    module = model.live(model.initial(generators(0, "init")), None, torch.device("cpu"))
    # Biases start at 0; other values show whether their gradients and the padding windows are right.
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    return module


def plain(module, tokens):
    """The same network by Conv1d and autograd, written from the paper."""
    features = F.embedding(F.pad(tokens, (0, 4), value=1), module.embedding.weight, padding_idx=1).transpose(1, 2)
    maxima = [F.conv1d(features, c.weight, c.bias).max(dim=2).values for c in module.convolutions]
    return module.output(F.dropout(torch.relu(torch.cat(maxima, 1)), 0.4, training=module.training))


@pytest.mark.parametrize("targets", [2, 6])
@pytest.mark.parametrize("training", [True, False])
def test_logits_and_gradients_are_plain_autograds(targets, training):
    """Logits and every gradient equal Conv1d and autograd's under the same dropout draw."""
    tokens = torch.randint(1, 40, (9, 12), generator=torch.Generator().manual_seed(2))
    seen = []
    for forward in (lambda module: module(tokens), lambda module: plain(module, tokens)):
        module = make(targets).train(training)
        torch.manual_seed(5)
        logits = forward(module)
        logits.square().sum().backward()
        seen.append((logits.detach(), {name: p.grad for name, p in module.named_parameters()}))
    torch.testing.assert_close(seen[0][0], seen[1][0], rtol=1e-5, atol=1e-5)
    for name, gradient in seen[0][1].items():
        torch.testing.assert_close(gradient, seen[1][1][name], rtol=1e-4, atol=1e-5)


def test_initial_padding_and_unknown_rows_are_zero_and_draws_are_per_tensor():
    """Rows 0 and 1 start at 0, and a tensor's draw does not change with another's shape."""
    small = a_model(Cnn(filters=3), 50).initial(generators(7, "init"))
    large = a_model(Cnn(filters=9), 50).initial(generators(7, "init"))
    assert bool((small["embedding.weight"][:2] == 0).all())
    assert torch.equal(small["embedding.weight"], large["embedding.weight"])


def test_weight_names_are_openlths():
    """The weights of convolutions and linear layers, without biases and embeddings."""
    names = a_model(Cnn(), 50).weight_names
    assert names == (*(f"convolutions.{i}.weight" for i in range(3)), "output.weight")
