"""A described model has the kernels of the model, its weights' laws, and says what is left out."""

from __future__ import annotations

import random

import numpy as np
import pytest
from torch_models import (
    Residual,
    Transformer,
    image,
    nn,
    rows,
    tokens,
    torch,
)

from resexpand import from_torch, measure_orders, measure_paths, profile, set_scales
from resexpand.errors import UnsupportedError
from resexpand.models.laws import law_of

WIDTH = 256


def gaussian(model: nn.Module, variance: float = 1.0, seed: int = 7) -> nn.Module:
    """Draw all weights of linear maps from a normal law of this variance over the fan-in."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=(variance / module.in_features) ** 0.5)
            nn.init.zeros_(module.bias)
    return model.eval()


def perceptrons(depth: int = 3) -> nn.Module:
    return gaussian(nn.Sequential(*(Residual(WIDTH, WIDTH) for _ in range(depth))))


def test_a_perceptron_is_read_as_its_operations():
    found = from_torch(perceptrons(), rows(8, WIDTH))
    kinds = [op.kind for op in found.net.branch.ops]
    assert kinds == ["LayerNorm", "Linear", "gelu", "Linear"] or kinds == [
        *("LayerNorm", "Linear", "Activation", "Linear")
    ]
    assert int(found.net.depth) == 3
    variances = [float(op.weight_variance) for op in found.net.branch.linears]
    np.testing.assert_allclose(variances, 1, rtol=0.02)
    assert {law.law for law in found.laws} == {"Gaussian, independent"}
    assert found.stream.shape == (WIDTH, 8)
    assert "6 Gaussian, independent" in repr(found)


def test_the_description_predicts_the_profile():
    model, x = perceptrons(4), rows(200, WIDTH)
    described = from_torch(model, x)
    found = profile(model, x, net=described)
    same = profile(model, x, net=described.net)
    np.testing.assert_allclose(same.prediction, found.prediction, rtol=0.02)
    assert found.prediction is not None
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.1)


def test_the_kernel_of_the_tokens_is_that_of_the_first_input():
    torch.manual_seed(5)
    model = gaussian(nn.Sequential(Averaging(), Residual(WIDTH, WIDTH), Averaging()))
    common = torch.randn(1, 1, WIDTH)
    x = common + 0.3 * torch.randn(6, 5, WIDTH)
    described = from_torch(model, x)
    want = (x[0] @ x[0].T / WIDTH).numpy()
    np.testing.assert_allclose(described.K0, want, rtol=1e-5)
    found = profile(model, x, net=described)
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.12)
    # Control: attention over tokens that are taken as uncorrelated contributes less.
    apart = profile(model, x, net=described.net)
    assert apart.prediction[0] < 0.7 * found.median()[0]


class Bottleneck(nn.Module):
    """A grouped convolution between two of single positions."""

    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Conv2d(4, 8, 1)
        )

    def forward(self, x):
        return x + self.f(x)


class Averaging(nn.Module):
    """Attention whose logits are zero."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        y = self.norm(x)
        q, k, v = 0 * self.q(y), self.k(y), self.v(y)
        return x + self.out(nn.functional.scaled_dot_product_attention(q, k, v))


def test_attention_is_causal_or_not_and_alternates_with_perceptrons():
    class Causal(nn.Module):
        def __init__(self, is_causal):
            super().__init__()
            self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
            self.norm, self.is_causal = nn.LayerNorm(16), is_causal

        def forward(self, x):
            q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
            return x + self.proj(y)

    for is_causal in (False, True):
        model = nn.Sequential(Causal(is_causal), Residual(), Causal(is_causal), Residual())
        found = from_torch(gaussian(model), torch.randn(3, 5, 16))
        attention = found.net.kinds[0].ops[1]
        assert attention.attends
        assert attention.causal is is_causal
        assert found.net.positions == (5,)
        assert len(found.net.kinds) == 2
        assert any("uniform weights" in note for note in found.notes)


@pytest.mark.parametrize("first", [True, False])
def test_the_encoder_of_pytorch(first):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    found = from_torch(model, torch.randn(2, 5, 16))
    assert (found.net.post_norm is None) is first
    assert found.net.skip == 1
    # Its layers are copies of one layer, weights included.
    assert {law.is_independent for law in found.laws} == {False}
    assert any("not independent" in note for note in found.notes)


def test_a_transformer_with_keywords_and_tuples():
    found = from_torch(Transformer(2), {"input_ids": tokens()})
    assert found.names[:2] == ("layers.0.attn", "layers.0.mlp")
    assert found.net.positions == (5,)


def test_a_factor_of_the_stream_is_its_skip():
    class Damped(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))

        def forward(self, x):
            return 0.5 * x + self.f(x)

    found = from_torch(nn.Sequential(Damped(), Damped(), Damped()), rows())
    assert float(found.net.skip) == 0.5


@pytest.mark.parametrize("smooth", [True, False])
def test_weights_go_to_the_orders_of_the_given_network(smooth):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Tanh() if smooth else nn.ReLU(), nn.Linear(16, 16))

        def forward(self, x):
            return x + self.f(x)

    model = nn.Sequential(Plain(), Plain(), Plain()).double()
    x = rows().double()
    found = from_torch(model, x)
    given = found.net, found.weights, found.stream
    if smooth:
        parts = measure_orders(*given, 2, biases=found.biases)
    else:
        parts = measure_paths(*given, biases=found.biases)
    with torch.no_grad():
        want = model(x).numpy().T
    np.testing.assert_allclose(parts.output, want, rtol=1e-10)


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        (lambda: torch.randn(200, 100), "Gaussian, independent"),
        (lambda: torch.rand(200, 100) - 0.5, "uniform, independent"),
        (lambda: torch.randn(200, 1) @ torch.randn(1, 100), "not Gaussian, dependent"),
        (lambda: torch.randn(200, 100) + 0.1, "Gaussian, dependent"),
        (lambda: torch.zeros(20, 10), "zero"),
    ],
)
def test_laws_of_weights(draw, law):
    torch.manual_seed(2)
    assert law_of(torch, "a", "b", draw(), None).law == law


def test_scores_of_independent_weights_are_standard():
    torch.manual_seed(3)
    laws = [law_of(torch, "a", "b", torch.randn(60, 40), None) for _ in range(200)]
    for name, mean, spread in (("kurtosis_score", 0, 1), ("mean", 0, 1), ("edge_score", 0, 1)):
        scores = np.array([getattr(law, name) for law in laws])
        assert abs(scores.mean() - mean) < 0.3, name
        assert 0.75 < scores.std() / spread < 1.25, name


@pytest.mark.parametrize(
    ("model", "batch", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 1), Bottleneck()).eval(), image(), "with groups=2"),
        (nn.Sequential(nn.Linear(16, 16)), rows(), "residual blocks of Sequential"),
    ],
)
def test_what_cannot_be_described(model, batch, message):
    with pytest.raises(UnsupportedError, match=message):
        from_torch(model, batch)


def test_shared_blocks_are_refused():
    shared = Residual()
    with pytest.raises(UnsupportedError, match="share their weights"):
        from_torch(nn.Sequential(shared, shared), rows())


def test_models_of_transformers_are_described():
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        pytest.skip("transformers is not installed")
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=64, n_layer=2, n_head=4)
    config.bos_token_id = config.eos_token_id = 0
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config).eval()
    found = from_torch(model, {"input_ids": tokens(8, 8)})
    assert [op.kind for op in found.net.kinds[0].ops][:2] == ["LayerNorm", "Attention"]
    assert found.net.kinds[0].ops[1].causal
    variance = float(found.net.kinds[1].linears[0].weight_variance)
    assert variance == pytest.approx(64 * 0.02**2, rel=0.05)


class Written(nn.Module):
    """A block of one line of code, with a linear map and what else it uses."""

    def __init__(self, line, other=None):
        super().__init__()
        self.line, self.other, self.f = line, other, nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.line(self, x)


def written(line, other=lambda: None, variance=2.0):
    return gaussian(nn.Sequential(*(Written(line, other()) for _ in range(3))), variance)


WHOLE = {
    "an activation of the input": lambda s, x: x + s.f(x.relu()),
    "a factor of the argument": lambda s, x: x + s.f(torch.tanh(3 * x)),
    "a sign": lambda s, x: x - s.f(-torch.tanh(x / 2)),
    "a factor of the sum": lambda s, x: (x + s.f(x.relu())) * 0.5**0.5,
    "a factor of both terms": lambda s, x: 0.5 * x + 0.5 * s.f(x.relu()),
    "a factor of the stream": lambda s, x: 0.5 * x + s.f(torch.tanh(x)),
}


@pytest.mark.parametrize("line", WHOLE.values(), ids=WHOLE.keys())
def test_a_description_predicts_the_profile_of_blocks_of_all_forms(line):
    model, x = written(line), rows(200, WIDTH)
    found = profile(model, x, net=from_torch(model, x))
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.07)


def test_the_sign_of_a_trained_scale_stays():
    model = written(
        lambda s, x: x + s.other * s.f(x.relu()), lambda: nn.Parameter(torch.tensor(-0.3))
    )
    assert float(from_torch(model, rows(8, WIDTH)).net.branch.ops[-1].factor) == -0.3


PARTIAL = {
    "clamp": lambda s, x: x + s.f(x.clamp(-0.3, 0.5)),
    "a shift": lambda s, x: x + s.f(torch.tanh(x + 1)),
    "a power": lambda s, x: x + s.f(x.relu().square()),
    "a centre": lambda s, x: x + s.f(x - x[..., :3].mean(-1, keepdim=True)),
    "a second bias": lambda s, x: x + (s.f(x.relu()) + 1),
    "a constant": lambda s, x: x + s.f(torch.ones_like(x)),
    "half of the neurons": lambda s, x: x + s.f(nn.functional.pad(x[..., 9:], (0, 9)).relu()),
    "hardtanh": lambda s, x: x + s.f(nn.functional.hardtanh(x)),
    "dropout that stays": lambda s, x: x + s.f(nn.functional.dropout(x, 0.3)),
    "two signs": lambda s, x: x + s.f(torch.cat([x.relu(), (-x).relu()], -1)[..., ::2]),
}


@pytest.mark.parametrize("line", PARTIAL.values(), ids=PARTIAL.keys())
def test_what_was_not_read_is_never_left_out(line):
    with pytest.raises(UnsupportedError, match="a description of"):
        from_torch(written(line), rows(20, WIDTH))


def test_dropout_of_a_model_in_training_is_described():
    model = written(lambda s, x: x + s.f(s.other(x.relu())), lambda: nn.Dropout(0.3)).train()
    x = rows(200, WIDTH)
    described = from_torch(model, x)
    assert [op.kind for op in described.net.branch.ops] == ["Activation", "Dropout", "Linear"]
    assert not any("a coin" in note for note in described.notes)
    assert all(module.training for module in model.modules())
    found = profile(model, x, net=described)
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.07)
    assert [op.kind for op in from_torch(model.eval(), x).net.branch.ops] == [
        "Activation",
        "Linear",
    ]


@pytest.mark.parametrize("coin", [lambda: torch.rand(()), random.random], ids=["torch", "Python"])
def test_a_coin_that_skips_blocks_in_training_is_named(coin):
    def line(s, x):
        return x if s.training and coin() < 1e-3 else x + s.f(s.other(x))

    model, x = written(line, nn.ReLU), rows(20, WIDTH)
    assert "a coin" in " ".join(from_torch(model.train(), x).notes)
    assert "a coin" not in " ".join(from_torch(model.eval(), x).notes)


def test_scales_that_were_set_are_described():
    model, x = written(lambda s, x: x + s.f(x.relu())), rows(200, WIDTH)
    set_scales(model, 0.25, x)
    found = profile(model, x, net=from_torch(model, x))
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.07)


def test_attention_is_causal_where_perceptrons_take_rows():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj, self.f = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 16)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + 0.5 * self.proj(y)
            flat = x.reshape(-1, 16)
            return (flat + self.f(flat.relu())).view_as(x)

    found = from_torch(gaussian(nn.Sequential(Layer(), Layer())), torch.randn(3, 5, 16))
    ops = found.net.kinds[0].ops
    assert ops[0].causal
    assert float(ops[-1].factor) == 0.5
