"""Gated units, shared keys and values, and branches beside each other are described as they are."""

from __future__ import annotations

import numpy as np
import pytest
from test_from_torch import WIDTH, Written, gaussian
from torch_models import nn, rows, tokens, torch

from resexpand import Activation, from_torch, post_ln, profile
from resexpand.errors import UnsupportedError
from resexpand.models.blocks import find_blocks
from resexpand.models.prediction import ratio_profile

F = nn.functional


class Gated(nn.Module):
    """A block of one line with three maps, of which the second is larger."""

    def __init__(self, line, width=WIDTH):
        super().__init__()
        self.line, self.norm = line, nn.LayerNorm(width)
        self.a, self.b, self.down = (nn.Linear(width, width) for _ in range(3))
        self.packed = nn.Linear(width, 2 * width)

    def forward(self, x):
        return x + self.line(self, self.norm(x))


def gated(line):
    model = gaussian(nn.Sequential(*(Gated(line) for _ in range(3))), 1.0)
    for block in model:
        block.b.weight.data *= 2
    return model


GATES = {
    "swiglu": (lambda s, x: s.down(F.silu(s.a(x)) * s.b(x)), "silu", 2.0),
    "the other order": (lambda s, x: s.down(s.b(x) * F.gelu(s.a(x))), "gelu", 2.0),
    "the larger one is curved": (lambda s, x: s.down(s.a(x) * F.relu(s.b(x))), "relu", 0.5),
    "the larger one is curved, first": (lambda s, x: s.down(F.relu(s.b(x)) * s.a(x)), "relu", 0.5),
    "bilinear": (lambda s, x: s.down(s.a(x) * s.b(x)), "identity", 2.0),
    "packed": (
        lambda s, x: s.down(F.silu(s.packed(x).chunk(2, -1)[0]) * s.packed(x).chunk(2, -1)[1]),
        None,
        None,
    ),
    "packed once": (lambda s, x: s.down(_packed(s.packed(x))), "silu", 1.0),
    "glu": (lambda s, x: s.down(F.glu(s.packed(x))), "1/(1 + exp(-x))", 1.0),
}


def _packed(x):
    up, gate = x.chunk(2, -1)
    return up * F.silu(gate)


@pytest.mark.parametrize("name", GATES)
def test_gated_units(name):
    line, activation, gain = GATES[name]
    model, x = gated(line), rows(200, WIDTH)
    if activation is None:  # the packed map is called twice: no gated unit that was seen
        with pytest.raises(UnsupportedError, match="a description of"):
            from_torch(model, x)
        return
    described = from_torch(model, x)
    ops = described.net.branch.ops
    assert [op.kind for op in ops] == ["LayerNorm", "Linear", "Gate", "Linear"]
    assert str(ops[2].activation) == f'Activation("{activation}")'
    assert float(ops[2].gain) == pytest.approx(gain, rel=0.05)
    found = profile(model, x, net=described)
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.07)


PRODUCTS = {
    "the stream": lambda s, x: s.down(x * s.a(x)),
    "three": lambda s, x: s.down(s.a(x) * s.b(x) * s.a(x)),
    "both curved": lambda s, x: s.down(F.relu(s.a(x)) * torch.tanh(s.b(x))),
    "a sum": lambda s, x: s.down(F.relu(s.a(x)) + s.b(x)),
    "two inputs": lambda s, x: s.down(F.relu(s.a(x)) * s.b(x + 1)),
}


@pytest.mark.parametrize("line", PRODUCTS.values(), ids=PRODUCTS.keys())
def test_products_that_are_no_gated_units_are_refused(line):
    with pytest.raises(UnsupportedError, match="a description of"):
        from_torch(gated(line), rows(20, WIDTH))


class Beside(nn.Module):
    """Two functions of one stream, added in one of several ways."""

    def __init__(self, line):
        super().__init__()
        self.line, self.norm = line, nn.LayerNorm(WIDTH)
        self.f = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.g = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        return self.line(self, x)


BESIDE = {
    "added first": lambda s, x: x + (s.f(s.norm(x)) + s.g(s.norm(x))),
    "one by one": lambda s, x: x + s.f(s.norm(x)) + s.g(s.norm(x)),
    "with factors": lambda s, x: x + 0.5 * (s.f(s.norm(x)) + s.g(s.norm(x))),
    "a difference": lambda s, x: x + (s.f(s.norm(x)) - s.g(s.norm(x))),
}


@pytest.mark.parametrize("name", BESIDE)
def test_branches_beside_each_other(name):
    x = rows(200, WIDTH)
    model = gaussian(nn.Sequential(*(Beside(BESIDE[name]) for _ in range(2))), 1.5)
    if name in ("with factors", "a difference"):
        with pytest.raises(UnsupportedError, match="a description of"):
            from_torch(model, x)
        return
    described = from_torch(model, x)
    assert int(described.net.depth) == 4
    assert described.per_sum == ((1,) * 4 if name == "one by one" else (2, 2))
    assert any("beside each other" in note for note in described.notes)
    found = profile(model, x, net=described)
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.07)


def test_a_term_that_was_not_read_is_refused():
    model = gaussian(
        nn.Sequential(Beside(lambda s, x: x + (s.f(x) + s.g(x).clamp(-0.3, 0.5)))), 1.5
    )
    with pytest.raises(UnsupportedError, match="a description of"):
        from_torch(model, rows(20, WIDTH))


def test_a_post_norm_network_has_a_prediction():
    # Behind the norm K = 1; a block of scale rho adds rho^2 to 4.
    found = ratio_profile(post_ln(3, scale=[0.5, 1, 2], skip=2), 1.0)
    own = np.array([0.25, 1, 4])
    np.testing.assert_allclose(found, np.sqrt(own / (4 + own)))

    class Post(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, x):
            return self.norm(0.8 * x + self.f(x))

    model, x = gaussian(nn.Sequential(Post(), Post(), Post())), 2 * rows(200, WIDTH)
    profiled = profile(model, x, net=from_torch(model, x))
    np.testing.assert_allclose(profiled.median(), profiled.prediction, rtol=0.07)


@pytest.mark.parametrize(
    ("name", "kinds", "options"),
    [
        ("Llama", ("Attention", "Gate"), {"num_key_value_heads": 2}),
        ("Phi3", ("Attention", "Gate"), {"num_key_value_heads": 2}),
        ("Qwen3", ("Attention", "Gate"), {"num_key_value_heads": 1, "head_dim": 16}),
        ("GPTNeoX", ("Activation", "Attention"), {}),
        ("Phi", ("Attention", "Activation"), {}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_language_models(name, kinds, options):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = getattr(transformers, f"{name}Config")(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        **options,
    )
    torch.manual_seed(1)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    batch = {"input_ids": tokens(8, 8), "use_cache": False}
    described = from_torch(model, batch)
    assert int(described.net.depth) == 4
    for branch, kind in zip(described.net.kinds, kinds, strict=True):
        assert kind in [op.kind for op in branch.ops]
    beside = name in ("GPTNeoX", "Phi")
    assert [b.kind for b in find_blocks(model, batch)] == (
        ["attention"] * 2 if beside else ["attention", "mlp"] * 2
    )
    found = profile(model, batch, net=described)
    # Of 64 neurons, and of tokens that read each other beyond uniform weights.
    np.testing.assert_allclose(found.median(), found.prediction, rtol=0.35)


def test_attention_that_was_not_read_is_refused():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            y = F.scaled_dot_product_attention(q, k, v.clamp(0, 1), is_causal=True)
            return x + self.proj(y)

    with pytest.raises(UnsupportedError, match="first token, which reads itself alone"):
        from_torch(gaussian(nn.Sequential(Layer(), Layer())), torch.randn(3, 5, 16))


class Curve(nn.Module):
    """An activation of a library of its own."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x * torch.sigmoid(1.702 * x), "x/(1 + exp(-1.702*x))"),
        (lambda x: F.gelu(x, approximate="tanh"), "gelu"),
        (torch.tanh, "tanh"),
        (lambda x: x, None),
        (lambda x: x.softmax(-1), False),
        (lambda x: x - x.mean(-1, keepdim=True), False),
        (lambda x: x.clamp(-0.3, 0.5), False),
        (lambda x: torch.tanh(x) + 0.01, False),
    ],
)
def test_activations_are_known_by_their_values(function, name):
    model = gaussian(
        nn.Sequential(*(Written(lambda s, x: x + s.f(s.other(x)), Curve(function)) for _ in "ab"))
    )
    if name is False:
        with pytest.raises(UnsupportedError, match="a description of"):
            from_torch(model, rows(20, WIDTH))
        return
    ops = from_torch(model, rows(20, WIDTH)).net.branch.ops
    assert list(ops[:-1]) == ([] if name is None else [Activation(name)])
