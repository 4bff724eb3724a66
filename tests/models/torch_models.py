"""Small PyTorch models in the styles of common libraries; tests skip where it is missing."""

from __future__ import annotations

import pytest

try:
    import torch
except ImportError:
    pytest.skip("PyTorch is not installed", allow_module_level=True)

from torch import nn

torch.set_num_threads(1)
WIDTH = 16


class Residual(nn.Module):
    """A pre-norm multilayer perceptron on a stream."""

    def __init__(self, width: int = WIDTH, hidden: int = 32) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.f = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x):
        return x + self.f(self.norm(x))


class Attention(nn.Module):
    """Attention by hand, returned in a tuple with its weights."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, *, hidden):
        q, k, v = self.qkv(hidden).chunk(3, dim=-1)
        weights = (q @ k.transpose(-1, -2) / hidden.shape[-1] ** 0.5).softmax(-1)
        return self.proj(weights @ v), weights


class Layer(nn.Module):
    """Attention and a perceptron in one module: keywords in, a tuple out, sums in place."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, width))

    def forward(self, *, hidden, cache=None):
        found, weights = self.attn(hidden=self.ln_1(hidden))
        hidden = found + hidden
        hidden += self.mlp(self.ln_2(hidden))
        return hidden, weights


class Transformer(nn.Module):
    """Tokens in; layers behind an embedding with positions."""

    def __init__(self, depth: int = 2, width: int = WIDTH) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(11, width), nn.Embedding(9, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.head = nn.Linear(width, 11, bias=False)

    def forward(self, input_ids, attention_mask=None):
        x = self.wte(input_ids) + self.wpe(torch.arange(input_ids.shape[1]))
        for layer in self.layers:
            x, _ = layer(hidden=x)
        return {"logits": self.head(x)}


class Parallel(nn.Module):
    """Attention and a perceptron beside each other."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(width), Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, width))

    def forward(self, x):
        y = self.norm(x)
        return x + self.attn(hidden=y)[0] + self.mlp(y)


class BasicBlock(nn.Module):
    """Two convolutions with batch normalisation, the identity added in place, as in torchvision."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        same = inputs == channels
        self.downsample = None if same else nn.Conv2d(inputs, channels, 1, bias=False)

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Scaled(nn.Module):
    """LayerScale as a parameter and a skip factor, neither in a module of its own."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        return 0.9 * x + self.gamma * self.f(x)


class HandGELU(nn.Module):
    """A sum of a tensor and its cube, which is an activation and no block."""

    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.044715 * torch.pow(x, 3))))


def tokens(batch: int = 3, length: int = 5):
    return torch.randint(0, 11, (batch, length), generator=torch.Generator().manual_seed(0))


def rows(batch: int = 4, width: int = WIDTH):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(0))


def image(batch: int = 2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))
