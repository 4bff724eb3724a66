"""Residual blocks are found where they are, and not where there are none."""

from __future__ import annotations

import pytest
from torch_models import (
    BasicBlock,
    HandGELU,
    Layer,
    Parallel,
    Residual,
    Scaled,
    Transformer,
    image,
    nn,
    rows,
    tokens,
    torch,
)

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.models.blocks import find_blocks


def names(model, batch, **options):
    return [block.name for block in find_blocks(model, batch, **options)]


def test_a_stack_of_modules():
    model = nn.Sequential(nn.Linear(16, 16), Residual(), Residual(), nn.Linear(16, 2))
    found = find_blocks(model, rows())
    assert [(b.name, b.kind, b.shape, b.writer) for b in found] == [
        ("1", "mlp", (4, 16), "1.f.2"),
        ("2", "mlp", (4, 16), "2.f.2"),
    ]


def test_tuples_keywords_and_sums_in_place():
    parts = [f"layers.{k}.{part}" for k in range(2) for part in ("attn", "mlp")]
    found = find_blocks(Transformer(), {"input_ids": tokens()})
    assert [b.name for b in found] == parts
    assert [b.kind for b in found] == ["attention", "mlp"] * 2
    assert [b.writer for b in found[:2]] == ["layers.0.attn.proj", "layers.0.mlp.2"]


def test_sums_in_the_forward_of_the_model_itself():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

        def forward(self, x):
            for layer in self.maps:
                x = torch.add(x, layer(x).relu(), alpha=0.5)
            return x

    assert names(Functional(), rows()) == ["maps.0", "maps.1", "maps.2"]


@pytest.mark.parametrize("first", [True, False])
def test_the_encoder_of_pytorch(first):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    found = find_blocks(model, torch.randn(2, 5, 16))
    assert [b.kind for b in found] == ["attention", "mlp"] * 2
    assert found[0].name == "layers.0.self_attn"


def test_convolutions_with_a_projected_shortcut():
    # The projected one adds two functions of its input: its stream does not continue.
    model = nn.Sequential(nn.Conv2d(3, 8, 1), BasicBlock(8, 8), BasicBlock(8, 4), BasicBlock(4, 4))
    found = find_blocks(model.eval(), image())
    assert [(b.name, b.kind) for b in found] == [("1", "convolution"), ("3", "convolution")]


def test_scales_without_modules_and_skip_factors():
    assert names(nn.Sequential(Scaled(), Scaled()), rows()) == ["0", "1"]


@pytest.mark.parametrize("shape", [(), (16,)])
@pytest.mark.parametrize("first", [True, False])
def test_a_trainable_skip(shape, first):
    class Trainable(nn.Module):
        def __init__(self):
            super().__init__()
            self.skip, self.f = nn.Parameter(torch.full(shape, 0.9)), nn.Linear(16, 16)

        def forward(self, x):
            return (self.skip * x if first else x * self.skip) + self.f(x)

    assert names(nn.Sequential(Trainable(), Trainable()), rows()) == ["0", "1"]


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripted_modules_cannot_be_seen():
    with pytest.raises(UnsupportedError, match=r"TorchScript.*functions cannot be seen"):
        find_blocks(torch.jit.script(nn.Sequential(Residual())), rows())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_models_run_as_they_were_written():
    model = nn.Sequential(Residual(), Residual())
    assert names(torch.compile(model), rows()) == ["0", "1"]
    model[0].compile()
    assert names(model, rows()) == ["0", "1"]


def test_attention_beside_a_perceptron():
    found = find_blocks(nn.Sequential(Parallel()), torch.randn(2, 5, 16))
    assert [b.name for b in found] == ["0.attn", "0.mlp"]


def test_a_block_that_is_called_twice_counts_twice():
    shared = Residual()
    assert names(nn.Sequential(shared, shared), rows()) == ["0", "0 (2)"]


def test_wrappers_are_taken_off():
    model = nn.Sequential(Residual())
    assert names(torch.nn.DataParallel(model), rows()) == ["0"]


class Branchless(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(16, 16), nn.Linear(16, 16)
        self.act = HandGELU()

    def forward(self, x):
        return self.act(self.left(x) + self.right(x))


def test_no_block_is_an_error_that_says_what_was_seen():
    with pytest.raises(UnsupportedError, match=r"4 modules .* 2 of them sums") as error:
        find_blocks(Branchless(), rows())
    assert "1 add two functions of one tensor" in str(error.value)
    assert "blocks=" in str(error.value)


def test_blocks_may_be_named():
    model = Transformer()
    batch = {"input_ids": tokens()}
    assert names(model, batch, blocks=["layers.0", "layers.1"]) == ["layers.0", "layers.1"]
    assert names(model, batch, blocks=[model.layers[1]]) == ["layers.1"]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (["nothing"], "no such module"),
        ([nn.Linear(2, 2)], "no such module"),
        ([], "no block is named"),
        (["layers.0", "layers.0"], "given twice"),
    ],
)
def test_blocks_that_cannot_be_named(blocks, message):
    with pytest.raises(HyperparameterError, match=message):
        find_blocks(Transformer(), {"input_ids": tokens()}, blocks)


def test_a_named_module_must_keep_the_shape():
    with pytest.raises(UnsupportedError, match="adds to its input"):
        find_blocks(Transformer(), {"input_ids": tokens()}, ["head"])


def test_hooks_do_not_stay():
    class Broken(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.layer, self.error = Layer(), error

        def forward(self, x):
            self.layer(hidden=x)
            raise self.error

    for error in (RuntimeError("no"), KeyboardInterrupt()):
        for blocks in (None, ["layer"]):
            model = Broken(error)
            with pytest.raises(type(error)):
                find_blocks(model, torch.randn(2, 5, 16), blocks)
            for module in model.modules():
                assert not module._forward_hooks
                assert not module._forward_pre_hooks
            assert torch.is_grad_enabled()
            assert not torch.overrides._get_current_function_mode_stack()


def test_models_of_transformers():
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        pytest.skip("transformers is not installed")
    config = GPT2Config(
        vocab_size=11, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0
    )
    config.bos_token_id = config.eos_token_id = 0
    model = GPT2LMHeadModel(config)
    parts = [f"transformer.h.{k}.{part}" for k in range(2) for part in ("attn", "mlp")]
    assert names(model, {"input_ids": tokens()}) == parts
