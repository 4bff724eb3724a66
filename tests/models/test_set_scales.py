"""`set_scales` and `coordinate_check`: what is written, what it does, how it comes out again."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from torch_models import (
    BasicBlock,
    Residual,
    Transformer,
    image,
    nn,
    rows,
    tokens,
    torch,
)

from resexpand import coordinate_check, remove_scales, set_scales
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.models.blocks import find_blocks
from resexpand.models.scales import NAME


def stack(depth: int = 2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 16), *(Residual() for _ in range(depth)), nn.Linear(16, 2))


def by_hand(model, x, scales):
    x = model[0](x)
    for block, scale in zip(model[1:-1], scales, strict=True):
        x = x + scale * block.f(block.norm(x))
    return model[-1](x)


@pytest.mark.parametrize("kind", ["scalar", "layerscale"])
def test_branches_are_multiplied(kind):
    model, x = stack(), rows()
    before, wanted = model(x), by_hand(model, x, (0.25, -0.5))
    keys = set(model.state_dict())
    scales = set_scales(model, [0.25, -0.5], x, kind=kind)
    assert scales.writers == ("1.f.2", "2.f.2")
    torch.testing.assert_close(model(x), wanted)
    assert not torch.allclose(model(x), before)
    assert set(model.state_dict()) - keys == {f"{k}.f.2.{NAME}" for k in (1, 2)}
    assert [tuple(p.shape) for p in scales.parameters] == [
        (16,) if kind == "layerscale" else (1,)
    ] * 2
    scales.remove()
    assert set(model.state_dict()) == keys
    assert torch.equal(model(x), before)
    assert sum(len(m._forward_hooks) for m in model.modules()) == 0


def test_zero_makes_the_identity_and_is_trained_away_from_it():
    model, x = stack(), rows()
    scales = set_scales(model, 0.0, x)
    torch.testing.assert_close(model(x), model[-1](model[0](x)))
    model(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().item() > 0 for p in scales.parameters)
    assert model[1].f[2].weight.grad.abs().max() == 0
    scales.remove()
    fixed = set_scales(model, 0.5, x, trainable=False)
    assert not any(p.requires_grad for p in fixed.parameters)


def test_copies_states_and_contexts():
    model, x = stack(), rows()
    plain = model(x)
    with set_scales(model, 0.3, x):
        copied, scaled = deepcopy(model), model(x)
        other = stack()
        set_scales(other, 1.0, x)
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(other(x), scaled)
        torch.testing.assert_close(copied(x), scaled)
        copied[1].f[2].residual_scale.data.zero_()
        assert not torch.allclose(copied(x), scaled)
        torch.testing.assert_close(model(x), scaled)
        remove_scales(copied)
        assert torch.equal(copied(x), plain)
    assert torch.equal(model(x), plain)


def test_blocks_are_still_found_and_halves_stay_halves():
    model, x = stack(), rows()
    set_scales(model, 0.5, x)
    assert [block.writer for block in find_blocks(model, x)] == ["1.f.2", "2.f.2"]
    half = stack().half()
    set_scales(half, 0.5, rows().half(), kind="layerscale")
    assert half(rows().half()).dtype == torch.float16


def test_transformers_and_convolutions():
    model, batch = Transformer().eval(), {"input_ids": tokens()}
    scales = set_scales(model, 0.0, batch)
    assert len(scales.writers) == 4
    x = model.wte(tokens()) + model.wpe(torch.arange(tokens().shape[1]))
    torch.testing.assert_close(model(**batch)["logits"], model.head(x))
    picture = image()
    channels = picture.shape[1]
    net = nn.Sequential(BasicBlock(channels, channels), BasicBlock(channels, channels)).eval()
    scales = set_scales(net, 0.0, picture, kind="layerscale")
    torch.testing.assert_close(net(picture), picture.relu())
    scales.parameters[0].data[0] = 1.0
    moved = (net[0](picture) - picture.relu()).abs().amax(dim=(0, 2, 3))
    assert moved[0] > 0
    assert moved[1:].max() == 0


def test_the_layers_of_pytorch():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 5, 16)
    set_scales(model, 0.0, x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), x)


def test_a_failure_leaves_nothing_behind():
    model, x = stack(), rows()

    def broken(module, args):
        raise RuntimeError("in the middle")

    handle = model[2].register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        set_scales(model, 0.1, x, writers=["1.f.2"])
    handle.remove()
    assert not any(NAME in name for name in model.state_dict())
    assert sum(len(m._forward_hooks) for m in model.modules()) == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kind": "matrix"}, "matrix"),
        ({"scale": [0.1, 0.2, 0.3]}, "2 blocks"),
        ({"scale": float("nan")}, "no finite number"),
        ({"scale": "small"}, "no finite number"),
        ({"batch": None}, "found on a batch"),
        ({"writers": ["9"]}, "no such module"),
        ({"writers": []}, "no module is named"),
        ({"writers": ["1.f.2", "1.f.2"]}, "writes both"),
        ({"writers": ["1.f.1"], "kind": "layerscale"}, "how many neurons"),
        ({"model": 3}, "no torch.nn.Module"),
    ],
)
def test_bad_input_is_one_clear_error(given, words):
    model = stack()
    arguments = {"model": model, "scale": 0.1, "batch": rows(), **given}
    with pytest.raises((HyperparameterError, UnsupportedError), match=words):
        set_scales(**arguments)
    assert not any(NAME in name for name in model.state_dict())


def test_scales_twice_and_shared_blocks():
    model = stack()
    set_scales(model, 0.1, rows())
    with pytest.raises(HyperparameterError, match="remove_scales"):
        set_scales(model, 0.1, rows())
    block = Residual()
    with pytest.raises(HyperparameterError, match="writes both"):
        set_scales(nn.Sequential(block, block), 0.1, rows())
    with pytest.raises(UnsupportedError, match="residual blocks"):
        set_scales(nn.Sequential(nn.Linear(16, 16)), 0.1, rows())


# -- the check over depth ------------------------------------------------------------------------


class Block(nn.Module):
    """A branch of one weight matrix of unit variance per neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(16, 16, bias=False)
        nn.init.normal_(self.f.weight, std=0.25)

    def forward(self, x):
        return x + self.f(torch.tanh(x))


def scaled(power: float):
    def factory(depth: int):
        model = nn.Sequential(*(Block() for _ in range(depth)), nn.Linear(16, 2))
        set_scales(model, depth**-power, rows(), trainable=False)
        return model

    return factory


def test_features_move_alike_under_the_right_scale_only():
    torch.manual_seed(1)
    batch, targets = torch.randn(32, 16), torch.arange(32) % 2
    found = {
        power: coordinate_check(scaled(power), (8, 64), batch, targets=targets, steps=1, seeds=6)
        for power in (0.0, 0.5, 1.0)
    }
    verdicts = {power: check.verdict for power, check in found.items()}
    assert verdicts == {0.0: "grows", 0.5: "steady", 1.0: "vanishes"}
    half = found[0.5]
    assert half.change.shape == (2, 2, 6)
    assert (half.change[:, 0] == 0).all()
    assert "steady" in repr(half)
    assert len(half.plot().axes[0].get_lines()) >= 1


def test_a_check_is_reproducible_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one, two = (coordinate_check(scaled(0.5), (2, 4), rows(), seeds=1, steps=1) for _ in range(2))
    assert np.array_equal(one.change, two.change)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"depths": 5}, "two or more, such as"),
        ({"depths": "48"}, "two or more, such as"),
        ({"factory": 5}, "a function from a depth"),
        ({"factory": nn.Linear(2, 2)}, "a function from a depth"),
        ({"depths": [4]}, "two or more"),
        ({"depths": [0, 2]}, "depth"),
        ({"steps": 0}, "steps"),
        ({"seeds": 0}, "seeds"),
        ({"factory": lambda depth: nn.Linear(16, 2)}, "residual blocks"),
        ({"factory": lambda depth: depth}, "no torch.nn.Module"),
    ],
)
def test_bad_checks(given, words):
    arguments = {"factory": scaled(0.5), "depths": [2, 3], "batch": rows(), **given}
    with pytest.raises((HyperparameterError, UnsupportedError), match=words):
        coordinate_check(**arguments)


def test_a_factory_that_makes_one_model_is_refused():
    model = nn.Sequential(Residual())
    with pytest.raises(HyperparameterError, match="trained before"):
        coordinate_check(lambda depth: model, (1, 2), rows(), steps=1)
