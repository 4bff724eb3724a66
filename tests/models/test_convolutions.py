"""Convolutional residual blocks are described with their positions, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from torch_models import BasicBlock, nn, rows, torch

from resexpand import Branch, Conv, ResNet, from_torch, profile
from resexpand.errors import UnsupportedError
from resexpand.models.prediction import ratio_profile


class Block(nn.Module):
    """Pre-activation: normalisation, relu and a convolution, twice."""

    def __init__(self, width, kernel=3, mode="zeros", dims=2, norm=True, line=None):
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d)[dims - 1]
        batch_norm = (nn.BatchNorm1d, nn.BatchNorm2d)[dims - 1] if norm else nn.Identity
        self.norms = nn.ModuleList(batch_norm(width) for _ in range(2))
        options = {"padding": "same", "bias": False, "padding_mode": mode}
        self.maps = nn.ModuleList(conv(width, width, kernel, **options) for _ in range(2))
        self.line = line
        for own in self.maps:
            nn.init.normal_(own.weight, std=(2 / own.weight[0].numel()) ** 0.5)

    def forward(self, x):
        y = x if self.line is None else self.line(x)
        for norm, own in zip(self.norms, self.maps, strict=True):
            y = own(norm(y).relu())
        return x + y


def network(width=32, depth=2, seed=0, **options):
    torch.manual_seed(seed)
    return nn.Sequential(*(Block(width, **options) for _ in range(depth)))


def images(width=32, shape=(4, 4), count=3):
    return torch.randn(count, width, *shape, generator=torch.Generator().manual_seed(1))


NORMED = ["BatchNorm", "Activation", "Conv"] * 2
PLAIN = ["Activation", "Conv"] * 2


@pytest.mark.parametrize(
    ("options", "shape", "train", "kinds"),
    [
        ({}, (4, 4), True, NORMED),
        ({}, (4, 4), False, PLAIN),
        ({"mode": "circular", "norm": False}, (4, 4), False, PLAIN),
        ({"dims": 1, "kernel": 5, "norm": False}, (6,), False, PLAIN),
    ],
)
def test_ratios_of_random_networks_are_predicted(options, shape, train, kinds):
    means, errors = [], []
    for width in (24, 48):
        found = []
        for seed in range(32):
            model = network(width, seed=seed, **options).train(train)
            found.append(profile(model, x := torch.randn(3, width, *shape)).mean())
        means.append(np.mean(found, axis=0))
        errors.append(np.std(found, axis=0, ddof=1) / len(found) ** 0.5)
    described = from_torch(model, x)
    assert [op.kind for op in described.net.branch.ops] == kinds
    assert described.net.positions == shape
    z, control = (
        scores(means, errors, described.net, circular)
        for circular in (options.get("mode") == "circular", options.get("mode") != "circular")
    )
    assert np.abs(z).max() < 4
    # Control: what is outside is not what it is.
    assert np.abs(control).max() > 4


def scores(means, errors, net, circular):
    """Return deviations at infinite width from the theory of the law that weights are drawn of."""
    ops = [
        Conv(op.offsets, 2, 0, circular=circular) if op.kind == "Conv" else op
        for op in net.branch.ops
    ]
    theory = ratio_profile(
        ResNet(Branch(*ops), scale=1, depth=2, positions=net.positions),
        np.eye(3 * int(np.prod(net.positions))),
        per="sample",
    ).mean(axis=-1)
    return (2 * means[1] - means[0] - theory) / np.hypot(2 * errors[1], errors[0])


def test_the_profile_has_the_prediction_beside_it():
    model, x = network(96).train(), images(96)
    described = from_torch(model, x)
    assert np.shape(described.K0) == (48, 48)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    found = profile(model, x, net=described)
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.05)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_a_large_batch_is_described_by_its_first_inputs():
    described = from_torch(network(8).train(), images(8, (8, 8), 9))
    assert described.columns == 256
    assert any("4 of its 9 inputs" in note for note in described.notes)
    wide = network(8, depth=1).train()
    x = images(8, (26, 26), 1)
    with pytest.raises(UnsupportedError, match="676 columns"):
        profile(wide, x, net=from_torch(wide, x))


def test_running_statistics_are_a_factor_or_a_normalisation():
    model, x = network(48, depth=1), images(48)
    with torch.no_grad():
        for norm in model[0].norms:
            norm.weight.fill_(0.5)
            norm.running_var.fill_(1.0)
    first = from_torch(model.eval(), x).net.block(1).ops
    factors = [float(op.factor) for op in first if op.kind == "Scale"]
    np.testing.assert_allclose(factors, 0.5, rtol=1e-5)
    model, x = network(48).train(), images(48, (5, 5), 4)
    for _ in range(100):
        model(x)
    described = from_torch(model.eval(), x)
    assert [op.kind for op in described.net.branch.ops] == NORMED
    assert not any("are not those" in note for note in described.notes)
    found = profile(model, x, net=described)
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.1)
    other = from_torch(model, 3 * x)
    assert any("running statistics are not those" in note for note in other.notes)


def test_a_perceptron_normalised_over_its_batch():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 512, bias=False))
            nn.init.normal_(self.f[2].weight, std=(2 / 512) ** 0.5)

        def forward(self, x):
            return x + self.f(x)

    torch.manual_seed(3)
    model, x = nn.Sequential(Rows(), Rows(), Rows()).train(), rows(16, 512)
    found = profile(model, x, net=from_torch(model, x))
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.05)


def test_shares_of_offsets_are_measured():
    model = network(64, norm=False).eval()
    with torch.no_grad():
        for block in model:
            for own in block.maps:
                own.weight[..., :, 0] *= 0.1
    op = from_torch(model, images(64)).net.branch.ops[1]
    shares = np.array(op.values[2:], dtype=float)
    assert op.offsets[0] == (-1, -1)
    np.testing.assert_allclose(shares[::3] / shares[1::3], 0.01, rtol=0.1)
    alike = from_torch(network(64, norm=False).eval(), images(64)).net.branch.ops[1]
    assert alike.values[2:] == Conv(op.offsets).values[2:]


def test_one_position_is_a_linear_map():
    described = from_torch(network(16, kernel=1).eval(), images(16))
    assert [op.kind for op in described.net.branch.ops] == ["Activation", "Linear"] * 2
    assert not described.net.positions


class Single(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return x + self.f(x)


REFUSED = {
    "groups=8": nn.Conv2d(8, 8, 3, padding=1, groups=8),
    "stride=": nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.Upsample(scale_factor=2)),
    "padding_mode='reflect'": nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
    "a ConvTranspose2d": nn.ConvTranspose2d(8, 8, 3, padding=1),
    "changes the number of positions": nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=2), nn.AvgPool2d(3, 1)
    ),
    "a GroupNorm": nn.Sequential(nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 1)),
    "a further function": nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(8, 8, 3, padding=1)),
}


@pytest.mark.parametrize("said", REFUSED)
def test_other_convolutions_are_refused_by_name(said):
    with pytest.raises(UnsupportedError, match="a description of") as caught:
        from_torch(nn.Sequential(Single(REFUSED[said])).eval(), images(8))
    assert said in str(caught.value)


def test_what_was_not_read_between_convolutions_is_never_left_out():
    def pooled(x):
        return nn.functional.avg_pool2d(x, 3, 1, 1)

    for line in (pooled, lambda x: x.flip(-1), lambda x: x.roll(1, -1), lambda x: x + 1):
        with pytest.raises(UnsupportedError, match=r"gives? something else|holds"):
            from_torch(network(8, norm=False, line=line).eval(), images(8))


def test_networks_of_torchvision_are_described_stage_by_stage():
    post = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8)).eval()
    with pytest.raises(UnsupportedError, match="between 0 and 1 it is changed otherwise"):
        from_torch(post, images(8))
    stages = nn.Sequential(Block(8), nn.Conv2d(8, 16, 1, 2), Block(16)).eval()
    with pytest.raises(UnsupportedError, match=r"is \(8, 4, 4\) at 0 and \(16, 2, 2\) at 2"):
        from_torch(stages, images(8))
    assert from_torch(stages[0:1], images(8)).net.positions == (4, 4)
