"""No name becomes code: a fuzzer over the names of symbols, functions, outputs and titles.

Every name here is either harmless or would create a file if Python executed it. After each use the
file must not exist, and the numbers are right or the error is one of the package.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compile_routine,
    evaluate,
    kernel,
    measure_orders,
    one_loop,
    optimal_scale,
    quantile_law,
    residual_expansion,
    sample,
)
from resexpand.codegen.binding import bind
from resexpand.codegen.jet_source import jet_function
from resexpand.codegen.literals import comment, identifiers
from resexpand.codegen.source import module_source, scalar_function
from resexpand.errors import ResexpandError
from resexpand.expressions.numeric import value_at
from resexpand.montecarlo.concrete import concrete
from resexpand.theory.notation import in_notation

CANARY = "executed"
CODE = (
    f"(lambda a: open('{CANARY}','w').close() or a)",
    f"x\nopen('{CANARY}','w')\n#",
    f"x):\n    open('{CANARY}','w')\n    return (x",
    f"x; open('{CANARY}','w')",
    f"{{open('{CANARY}','w')}}",
    f'"""\nopen("{CANARY}","w")\n"""',
    f"'+str(open('{CANARY}','w'))+'",
    f"__import__('pathlib').Path('{CANARY}').touch()",
    f"x=open('{CANARY}','w')",
    f"@open('{CANARY}','w')",
    f"\\\nopen('{CANARY}','w')",
    f"x\r\nopen('{CANARY}','w')\r\n",
    f"x\x0copen('{CANARY}','w')",
    f"x\u2028open('{CANARY}','w')",
)
# Names that generated modules use, and those that Python gives a meaning.
OWN = (
    *("t0", "t1", "fn_exp", "fn_sqrt", "share_sum", "scalar", "chunk", "reduction", "driver"),
    *("real", "nan", "math", "np", "cuda", "min", "max", "abs", "f", "f_part0", "_shared0", "_t"),
    *("initial", "advance", "finish", "run", "lane", "p0", "q0", "out_K", "i", "j", "low", "layer"),
    *("True", "None", "lambda", "match", "type", "print", "__debug__", "__name__", "__class__"),
    *("_", "__", "0", "1a", "", " ", "ﬁ", "fi", "K", "Ｋ", "\u212a", "µ", "μ", "ρ", "rho", "é"),
    *("a-b", "a_b", "a.b", "a b", "{}", "{0}", "%s", "%(x)s", "\\", "'", '"', "#", "x" * 5000),
)
NAMES = st.one_of(
    st.sampled_from(CODE + OWN),
    st.sampled_from(keyword.kwlist),
    st.text(max_size=12),
    st.from_regex(r"[a-zA-Z_]{1,3}[0-9]?", fullmatch=True),
)
QUIET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def nothing_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run in a folder of its own, which must stay without the file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path(CANARY).exists()


def loaded(text: str, folder: Path) -> Any:
    """Import a generated text with plain Python behind the names it uses."""
    head = (
        "import math\nnan = math.nan\ndef real(x):\n    return float(x)\n"
        "def scalar(f):\n    return f\nchunk = scalar\nfn_exp = math.exp\n"
    )
    path = folder / "generated.py"
    path.write_text(head + text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("generated", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ALLOWED = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.Return, ast.Tuple),
    *(ast.Name, ast.Load, ast.Store, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator),
    *(ast.unaryop, ast.Call),
)


def only_arithmetic(text: str) -> bool:
    """Whether a text holds functions of assignments, and calls only what the tables name."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ALLOWED):
            return False
        if isinstance(node, ast.Call) and not node.func.id.startswith(("fn_", "f_part")):
            return False
    return True


def test_control_code_is_seen_by_the_check_and_by_the_file() -> None:
    assert not only_arithmetic(f"def f(x):\n    open('{CANARY}')\n    return x")
    assert not only_arithmetic("import os")
    assert only_arithmetic("def f(x):\n    t0 = x * x\n    return t0")
    assert sp.lambdify(sp.Symbol("s"), sp.Function(CODE[0])(sp.Symbol("s")))(2) == 2
    assert Path(CANARY).exists(), "what lambdify does with such a name"
    Path(CANARY).unlink()


@QUIET
@given(NAMES, NAMES)
def test_scalar_functions_of_any_symbols(tmp_path: Path, first: str, second: str) -> None:
    a, b = sp.Symbol(first), sp.Symbol(second, positive=True)
    expression = a**2 * sp.exp(-b) + a / (1 + b**2) + (a - b) * (a**2 * sp.exp(-b) + 1)
    text = scalar_function("f", [a, b], [expression, a + b])
    assert text.isascii()
    assert only_arithmetic(text)
    found = loaded(text, tmp_path).f(0.7, 1.3)
    wanted = [float(e.xreplace({a: sp.Float(0.7), b: sp.Float(1.3)})) for e in (expression, a + b)]
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    pieces = scalar_function("f", [a, b], [expression, a + b], operation_cap=3)
    assert only_arithmetic(pieces)
    assert loaded(pieces, tmp_path).f(0.7, 1.3) == pytest.approx(wanted, rel=1e-14)


@QUIET
@given(st.lists(NAMES, unique=True, max_size=8))
def test_identifiers_are_distinct_and_plain(names: list[str]) -> None:
    found = identifiers([sp.Symbol(name) for name in names])
    assert len(set(found.values())) == len(names)
    for name in found.values():
        assert name.isascii()
        assert name.isidentifier()
        assert not keyword.iskeyword(name)


@QUIET
@given(NAMES)
def test_jets_and_comments_of_any_name(name: str) -> None:
    x = sp.Symbol(name)
    assert only_arithmetic(jet_function("f", x**2 + sp.exp(x), x, 2))
    line = comment(name)
    assert ast.parse(line).body == []
    assert len(line.splitlines()) == 1


def network(scale: sp.Expr, weight: sp.Expr) -> ResNet:
    return ResNet(Branch(Activation("erf"), Linear(weight, 0)), scale=scale, depth=2)


@QUIET
@given(NAMES, NAMES)
def test_values_are_bound_by_any_names(first: str, second: str) -> None:
    a, b = sp.Symbol(first), sp.Symbol(second)
    try:
        net = network(sp.sqrt(a) / 2, b**2 + 1)
        given_values = {first: 0.49, second: 0.49 if first == second else 1.5}
        sampled = concrete(net, given_values)
        theory = kernel(net)
        bound = bind(net, dict(theory.bindings), {}, {**given_values, "K0": 1.0}, matrix=False)
    except ResexpandError:
        return
    weight = given_values[second] ** 2 + 1
    assert sampled.scales == (0.35, 0.35)
    assert sampled.laws[1][0] == pytest.approx(weight, rel=1e-15)
    assert sorted(float(v) for v in bound.values.values()) == pytest.approx(
        sorted([0.35, weight, 0.0]), rel=1e-15
    )


@QUIET
@example("Add")
@example("Mul")
@given(NAMES)
def test_functions_of_any_name_are_never_executed(name: str) -> None:
    s, x = sp.Symbol("s"), sp.Symbol("x")
    # Neither SymPy nor Python makes a class with a null character in its name.
    assume("\0" not in name)
    made = [sp.Function(name)]
    if name:
        made.append(type(name, (sp.Function,), {}))
    for function in made:
        for values in (np.asarray(0.3), np.array([0.3, 0.4])):
            with suppress(ResexpandError):
                assert np.isnan(value_at(function(s), {s: values})).all()
        for refuse in (
            lambda f: quantile_law(f(s)),
            lambda f: quantile_law(f(s) - f(1 - s)),
            lambda f: Activation(f(x)),
            lambda f: scalar_function("f", [x], [f(x)]),
            lambda f: concrete(network(f(s), sp.Integer(1)), {"s": 0.3}),
        ):
            with pytest.raises(ResexpandError):
                refuse(function)
    expansion = residual_expansion(2, [made[0](x) + x] * 2, variables=x)
    with suppress(ResexpandError):
        expansion.expression(0.3)
    written = in_notation(expansion.expression(x))
    assert written.isascii()
    assert written.isprintable()


def hostile(function: Any) -> dict[str, Callable[[], Any]]:
    """Return one use of a function at every door that takes numbers."""
    s, rho, depth = sp.symbols("s rho L")
    scaled = network(function(s), sp.Integer(1))
    varied = ResNet(Branch(Activation("erf"), Linear(1, function(s))), scale=rho, depth=depth)
    weights = np.ones((2, 3, 3))
    return {
        "evaluate": lambda: evaluate(kernel(scaled), K0=1.0, s=0.1),
        "evaluate on a grid": lambda: evaluate(kernel(scaled), K0=1.0, s=[0.1, 0.2]),
        "compile": lambda: compile_routine(kernel(scaled))(K0=1.0, s=0.1),
        "order 1/N": lambda: evaluate(one_loop(scaled), K0=1.0, s=0.1),
        "optimum": lambda: evaluate(optimal_scale(varied), K0=0.1, s=0.1, L=3),
        "sample": lambda: sample(scaled, "kernel", 4, 2, K0=1.0, s=0.1),
        "weights": lambda: sample(scaled, "kernel", 4, 2, K0=1.0, s=0.1, weights=function(s)),
        "measure": lambda: measure_orders(scaled, weights, np.ones(3), 1),
    }


@pytest.mark.parametrize("door", hostile(sp.Function("f")))
def test_code_as_the_name_of_a_function(door: str) -> None:
    for name in CODE[:3]:
        with pytest.raises(ResexpandError):
            hostile(sp.Function(name))[door]()


def test_titles_and_outputs_are_no_code() -> None:
    theory = kernel(network(sp.Symbol("s"), sp.Integer(1)))
    plain = compile_routine(theory).source
    for name in CODE:
        routine = compile_routine(replace(theory, title=name))
        body = routine.source.split("\n", 1)
        assert ast.parse(body[0]).body == []
        assert body[1] == plain.split("\n", 1)[1]
        outputs = tuple(replace(output, name=name) for output in theory.outputs)
        with pytest.raises(ResexpandError, match="an output called"):
            compile_routine(replace(theory, outputs=outputs))


def test_compiled_numbers_do_not_depend_on_names() -> None:
    a, b = sp.symbols("a b")
    grid = {"a": np.array([0.1, 0.4]), "b": 1.7}
    wanted = evaluate(kernel(network(a, b)), K0=0.6, **grid)["K"]
    names = (CODE[0], 'K"\n\\')
    net = network(sp.Symbol(names[0]), sp.Symbol(names[1]))
    found = evaluate(kernel(net), K0=0.6, **{names[0]: grid["a"], names[1]: grid["b"]})["K"]
    np.testing.assert_array_equal(found, wanted)
    swapped = evaluate(kernel(net), K0=0.6, **{names[0]: grid["b"], names[1]: 0.1})["K"]
    assert (swapped != wanted[0]).any()


def test_a_module_binds_only_what_its_text_calls() -> None:
    text = scalar_function("f", [sp.Symbol("np.x"), sp.Symbol("math.y")], [sp.Symbol("np.x") + 1])
    module = module_source([text])
    assert "import" not in module.replace("from resexpand.codegen.targets import cpu as _t", "")
