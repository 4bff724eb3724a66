"""`profile` returns what a plain computation returns, and leaves the model as it was."""

from __future__ import annotations

import copy
import random
import sys

import numpy as np
import pytest
from torch_models import (
    BasicBlock,
    Layer,
    Residual,
    Scaled,
    Transformer,
    image,
    nn,
    rows,
    tokens,
    torch,
)

from resexpand import load, pre_ln, profile
from resexpand.errors import HyperparameterError, ResexpandError, UnsupportedError
from resexpand.measure.block_profile import EDGES, BlockCounts, BlockProfile
from resexpand.models.prediction import ratio_profile


def stack(depth: int = 3, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(*(Residual() for _ in range(depth)))


def by_hand(model, x):
    """Return ratio, |f|/|x|, cosines and growth of a stack, tokens and blocks."""
    found = []
    with torch.no_grad():
        for block in model:
            y = block(x)
            f = (y - x).double()
            a, b = x.double(), y.double()
            sizes = [v.norm(dim=-1) for v in (a, f, b)]
            found.append(
                {
                    "ratio": sizes[1] / sizes[2],
                    "relative": sizes[1] / sizes[0],
                    "cosine": (a * f).sum(-1) / sizes[0] / sizes[1],
                    "similarity": (a * b).sum(-1) / sizes[0] / sizes[2],
                    "growth": sizes[2] / sizes[0],
                }
            )
            x = y
    return {name: np.array([each[name].numpy() for each in found]) for name in found[0]}


def test_quantities_are_those_of_a_plain_computation():
    model, x = stack(), rows(200)
    found, want = profile(model, x), by_hand(model, x)
    assert found.names == ("0", "1", "2")
    for name, values in want.items():
        np.testing.assert_allclose(found.mean(name), values.mean(axis=1), rtol=1e-5, atol=1e-6)
        for share in (0.05, 0.5, 0.95):
            exact = np.quantile(values, share, axis=1, method="inverted_cdf")
            got = found.quantile(share, name)
            bin_ = 0.0026 if name in ("cosine", "similarity") else 0.0117 * np.abs(exact)
            assert (np.abs(got - exact) <= bin_).all(), (name, share)
    for threshold in (0.1, 0.3):
        share = (want["ratio"] < threshold).mean(axis=1)
        np.testing.assert_allclose(found.share_below(threshold), share, atol=0.02)
    assert found.sparsity(0.3) == pytest.approx((want["ratio"] < 0.3).mean(), abs=0.02)


def test_energies_of_the_stream():
    model, x = stack(), rows(50)
    energies = []
    with torch.no_grad():
        for block in (nn.Identity(), *model):
            x = block(x)
            energies.append(float((x**2).mean()))
    np.testing.assert_allclose(profile(model, rows(50)).energy, energies, rtol=1e-5)


def test_batches_add_up():
    model, x = stack(), rows(60)
    whole, parts = profile(model, x), profile(model, (x[k : k + 20] for k in (0, 20, 40)))
    assert whole.settings["batches"] == 1
    assert parts.settings["batches"] == 3
    for name in EDGES:
        np.testing.assert_allclose(parts.mean(name), whole.mean(name), rtol=1e-5, atol=1e-7)
        # Rounding of other shapes of a product may carry a value over an edge.
        np.testing.assert_allclose(parts.median(name), whole.median(name), rtol=0.012, atol=0.003)


def test_sums_in_place_are_measured_before_they_happen():
    # The perceptron of a layer is added in place; by hand its input is kept.
    torch.manual_seed(0)
    layer, x = Layer().eval(), torch.randn(4, 6, 16)
    with torch.no_grad():
        first = x + layer.attn(hidden=layer.ln_1(x))[0]
        f = layer.mlp(layer.ln_2(first))
        want = [
            (first - x).norm(dim=-1) / first.norm(dim=-1),
            f.norm(dim=-1) / (first + f).norm(dim=-1),
        ]
    found = profile(layer, {"hidden": x})
    np.testing.assert_allclose(found.mean(), [float(v.mean()) for v in want], rtol=1e-4)


def test_factors_belong_to_the_branch():
    model = nn.Sequential(Scaled())
    x = rows(30)
    with torch.no_grad():
        f = model[0].gamma * model[0].f(x)
        want = f.norm(dim=-1) / (0.9 * x).norm(dim=-1)
    np.testing.assert_allclose(profile(model, x).mean("relative"), float(want.mean()), rtol=1e-5)


def test_named_blocks_take_the_whole_layer():
    model = Transformer(2).eval()
    found = profile(model, {"input_ids": tokens()}, blocks=list(model.layers))
    assert found.names == ("layers.0", "layers.1")
    assert found.kinds == ("given", "given")


def test_padding_is_left_out():
    model, ids = Transformer(2).eval(), tokens(4, 6)
    mask = torch.ones_like(ids)
    mask[:, 4:] = 0
    found = profile(model, {"input_ids": ids, "attention_mask": mask})
    assert found.evaluations.tolist() == [16] * 4
    assert "padding is left out" in found.notes
    with pytest.raises(UnsupportedError, match="leaves no token"):
        profile(model, {"input_ids": ids, "attention_mask": 0 * mask})


def test_images_are_counted_per_sample():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), BasicBlock(8, 8)).eval()
    found = profile(model, image(5))
    assert found.evaluations.tolist() == [5]
    assert found.settings["per"] == "sample"
    assert found.width == 8 * 8 * 8
    assert profile(stack(1), rows(6).reshape(2, 3, 16), per="sample").evaluations.tolist() == [2]


# -- what is left behind --------------------------------------------------------------------------


def test_nothing_of_the_model_changes():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), BasicBlock(8, 8), nn.Dropout(0.5)).train()
    model[1].bn1.eval()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    generator, other = torch.get_rng_state(), random.getstate()
    found = profile(model, image(4))
    assert found.settings["mode"] == "parts in training"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(torch.get_rng_state(), generator)
    assert random.getstate() == other
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()
    # Control: a plain pass does change running statistics and the generator.
    model(image(4))
    changed = model.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in changed.items())
    assert not torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interruption_leaves_no_hook(error):
    def batches():
        yield rows()
        raise error

    model = stack()
    with pytest.raises(error):
        profile(model, batches())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()
    assert torch.is_grad_enabled()


def test_hooks_of_others_stay_and_run():
    model, calls = stack(), []
    handle = model[0].register_forward_hook(lambda *_: calls.append(1))
    profile(model, rows())
    assert calls == [1]
    assert list(model[0]._forward_hooks) == [handle.id]


def test_noise_in_training_has_a_seed():
    model = nn.Sequential(nn.Dropout(0.5), Residual()).train()
    means = [profile(model, rows(50), seed=s).mean()[0] for s in (0, 0, 1)]
    assert means[0] == means[1] != means[2]
    assert profile(model, rows(50)).settings["mode"] == "training"


# -- precision ------------------------------------------------------------------------------------


def test_half_precision_is_measured_in_single():
    model, x = stack(), rows(200)
    exact = profile(model, x).mean()
    half = profile(model.bfloat16(), x)
    assert half.settings["precision"] == "bfloat16"
    assert "inputs were brought to the precision of the model" in half.notes
    np.testing.assert_allclose(half.mean(), exact, rtol=0.01)


def test_autocast_is_reported():
    model, x = stack(), rows(100)
    found = profile(model, x, autocast="bfloat16")
    assert found.settings["autocast"] == "autocast bfloat16"
    np.testing.assert_allclose(found.mean(), profile(model, x).mean(), rtol=0.01)
    with torch.autocast("cpu", torch.bfloat16):
        assert profile(model, x).settings["autocast"] == "autocast bfloat16"
    with pytest.raises(HyperparameterError, match="autocast='int8'"):
        profile(model, x, autocast="int8")


# -- what cannot be profiled ----------------------------------------------------------------------


def test_an_output_that_is_not_finite_names_the_block():
    model = stack()
    with torch.no_grad():
        model[1].f[2].bias[0] = torch.nan
    with pytest.raises(HyperparameterError, match=r"block '1.f'.*branch is not finite at 4 of 4"):
        profile(model, rows())
    x = rows()
    x[2, 0] = torch.inf
    with pytest.raises(HyperparameterError, match=r"block '0.f'.*input is not finite at 1 of 4"):
        profile(stack(), x)


def test_a_batch_of_one_under_batch_normalisation():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.BatchNorm1d(16), nn.Linear(16, 16))

        def forward(self, x):
            return x + self.f(x)

    with pytest.raises(UnsupportedError, match=r"batch of one.*model\.eval"):
        profile(Normed().train(), rows(1))
    assert len(profile(Normed().eval(), rows(1))) == 1


def test_a_block_of_zero_contributes_nothing():
    model = stack(1)
    nn.init.zeros_(model[0].f[2].weight)
    nn.init.zeros_(model[0].f[2].bias)
    found = profile(model, rows())
    assert found.median().tolist() == [0.0]
    assert found.sparsity(0.01) == 1.0
    nothing = profile(model, torch.zeros(3, 16))
    assert "3 evaluations with a stream and a branch of zero are left out" in nothing.notes


@pytest.mark.parametrize(
    ("model", "batch", "message"),
    [
        (lambda x: x, rows(), "no torch.nn.Module"),
        (stack(), [rows()[0]][:0], "empty"),
        (stack(), "text", "type str"),
        (stack(), ([1.0],), "list"),
        (stack(), iter([[rows()]]), "several batches"),
    ],
)
def test_bad_arguments(model, batch, message):
    with pytest.raises((HyperparameterError, TypeError, AttributeError), match=message):
        profile(model, batch)


def test_a_missing_pytorch_is_one_line(monkeypatch):
    model = stack()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnsupportedError, match=r"PyTorch is not installed; pip install 'resexpand"):
        profile(model, rows())


# -- theory beside it, files and figures ---------------------------------------------------------


def described(width: int = 256, depth: int = 4) -> nn.Sequential:
    """A pre-norm perceptron with weights of the variances of `pre_ln`."""
    torch.manual_seed(3)
    model = nn.Sequential(*(Residual(width, width) for _ in range(depth)))
    for block in model:
        block.f[1] = nn.ReLU()
        for layer, variance in ((block.f[0], 1), (block.f[2], 2)):
            nn.init.normal_(layer.weight, std=(variance / width) ** 0.5)
            nn.init.zeros_(layer.bias)
    return model


def test_the_prediction_stands_beside_it():
    model, net = described(), pre_ln(4)
    x = torch.randn(300, 256, generator=torch.Generator().manual_seed(4))
    found = profile(model, x, net=net)
    np.testing.assert_allclose(
        found.prediction, [(1 / (k + 1)) ** 0.5 for k in range(1, 5)], rtol=0.01
    )
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.06)
    wrong = ratio_profile(pre_ln(4, weight_variance=(1, 4)), found.energy[0])
    assert (np.abs(found.median() - wrong) > 0.08 * wrong)[:2].all()
    with pytest.raises(UnsupportedError, match="prediction of 3 blocks"):
        profile(model, x, net=pre_ln(3))


def test_files_and_figures(tmp_path):
    found = profile(described(64, 3), rows(40, 64), net=pre_ln(3))
    read = load(found.save(tmp_path / "found.npz"))
    assert isinstance(read, BlockProfile)
    assert repr(read) == repr(found)
    for (name, array), (other, same) in zip(found.items(), read.items(), strict=True):
        assert name == other
        np.testing.assert_array_equal(array, same)
    assert found.save(tmp_path / "found.csv").read_text().startswith("quantity,indices,value\n")
    for name in EDGES:
        assert found.plot(name).axes
    with pytest.raises(KeyError):
        found.plot("size")
    with pytest.raises(HyperparameterError, match="one per block"):
        found.plot(theory=[1.0])
    frame = found.to_dataframe()
    assert list(frame["block"]) == ["0", "1", "2"]
    assert {"ratio_median", "ratio_predicted", "evaluations"} <= set(frame)
    assert "<table>" in found._repr_html_()
    assert "median ratio" in repr(found)
    assert str(found).splitlines()[1].startswith("0 ")


def test_quantiles_lie_within_the_data(tmp_path):
    ratios = np.array([0.3001, 0.3002, 0.3003])
    counts = BlockCounts()
    counts.add(np.array([np.ones(3), ratios, np.zeros(3), np.ones(3)]), 1)
    found = BlockProfile(("a",), ("mlp",), (counts,), 1)
    for name, data in (("ratio", ratios), ("growth", np.ones(3)), ("cosine", np.zeros(3))):
        for share in (0.0, 0.05, 0.5, 0.95, 1.0):
            value = found.quantile(share, name)[0]
            assert data.min() <= value <= data.max(), (name, share)
    # Control: the bin reaches further than the data.
    edges = EDGES["ratio"][np.searchsorted(EDGES["ratio"], 0.3) + np.array([-1, 0])]
    assert edges[0] < ratios.min()
    assert edges[1] > ratios.max()
    assert load(found.save(tmp_path / "found.npz")).median()[0] == found.median()[0]


def test_counts_have_quantiles_at_their_ends():
    counts = BlockCounts()
    counts.add(np.array([[1.0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]]), 1)
    found = BlockProfile(("a",), ("mlp",), (counts,), 1)
    assert counts.tokens.tolist() == [3, 1]
    assert found.quantile(0.0)[0] == 0
    with pytest.raises(HyperparameterError, match="out of range"):
        found.quantile(1.5)
    with pytest.raises(KeyError):
        found.mean("size")


@pytest.mark.parametrize("wrong", [{"seed": "a"}, {"seed": -1}, {"net": 3}])
def test_what_is_no_seed_and_no_network_is_one_message(wrong):
    with pytest.raises(ResexpandError, match=r"seed|prediction of a profile"):
        profile(nn.Sequential(Residual()), rows(), **wrong)
