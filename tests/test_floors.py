"""The house stands: imports go downward, no cycles, short files, nothing that executes text.

Every file of the package is read as a syntax tree, so that an import inside a function or under
`TYPE_CHECKING` counts like any other. A file that stands on no known floor fails.
"""

from __future__ import annotations

import ast
import textwrap
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "resexpand"

# Room (a module or folder right under the package) -> floor. A file imports from the floors below
# its own, or from its own room.
FLOORS = {
    "errors": 0,
    "conventions": 0,
    "references": 0,
    "progress": 0,
    "expressions": 0,
    "gaussian": 1,
    "activations": 1,
    "combinatorics": 1,
    "series": 1,
    "network": 2,
    "theory": 3,
    "codegen": 4,
    "numbers": 4,
    "montecarlo": 5,
    "measure": 5,
    "agreement": 5,
    "export": 6,
    "models": 6,
    "cli": 7,
    "workflows": 7,
    "__init__": 7,
    "__main__": 7,
}
# On one floor, rooms that may use a neighbour: the ground floor has its errors and symbols, a
# verdict knows the health of estimates, and the command line starts the workflows.
NEIGHBOURS = {
    ("conventions", "errors"),
    ("references", "errors"),
    ("progress", "errors"),
    ("expressions", "errors"),
    ("expressions", "conventions"),
    ("activations", "gaussian"),
    ("gaussian", "activations"),
    ("numbers", "codegen"),
    ("series", "combinatorics"),
    ("agreement", "montecarlo"),
    ("models", "export"),
    ("cli", "workflows"),
    ("cli", "__init__"),
    ("__main__", "cli"),
    ("__init__", "workflows"),
}
MAX_LINES = 400
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib"}
# Libraries that are slow to load: imported by these modules alone, inside their functions.
LATE = {
    "scipy": {
        "resexpand.agreement.tails",
        "resexpand.measure.layer_weights",
        "resexpand.montecarlo.statistics.intervals",
        "resexpand.numbers.depth_limit",
        "resexpand.numbers.gradient_flow",
    },
    "torch": {"resexpand.models.library"},
}
FORBIDDEN_CALLS = {"eval", "exec", "sympify", "parse_expr", "__import__"}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """Dotted name of a file, ``resexpand.theory.formula``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The part of the package a module belongs to; the package itself is ``__init__``."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(tree: ast.AST, module: str, is_package: bool, known: set[str]) -> set[str]:
    """Modules of the package that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                up = up[: len(up) - node.level + is_package]
                base = ".".join([*up, base] if base else up)
            # `from package import name` may name a module or what a module defines.
            found |= {
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
                for alias in node.names
            }
    return {name for name in found if name.split(".")[0] == "resexpand"}


def graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Module -> modules of the package it imports."""
    files = sorted(package.rglob("*.py"))
    known = {module_name(path, package) for path in files}
    return {
        module_name(path, package): imports(
            ast.parse(path.read_text()),
            module_name(path, package),
            path.name == "__init__.py",
            known,
        )
        for path in files
    }


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Every import that goes up, or sideways into another room."""
    wrong = []
    for module, targets in edges.items():
        for target in targets:
            here, there = room(module), room(target)
            if here == there or (here, there) in NEIGHBOURS:
                continue
            if here not in FLOORS or there not in FLOORS or FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{module} imports {target}")
    return wrong


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return one import cycle as the modules along it, empty if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def offences(tree: ast.AST) -> list[str]:
    """Return the offences of a file: calls and handlers that none may contain."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"line {node.lineno}: bare except")
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            # `re.compile` and `expression.eval` are something else: only the plain names execute.
            plain = isinstance(node.func, ast.Name) or name in {"sympify", "parse_expr"}
            strict = any(k.arg == "strict" for k in node.keywords)  # then sympify refuses text
            if plain and name in FORBIDDEN_CALLS and not (name == "sympify" and strict):
                found.append(f"line {node.lineno}: call of {name}")
            found += [
                f"line {node.lineno}: {keyword.arg}=True"
                for keyword in node.keywords
                if keyword.arg == "allow_pickle" and getattr(keyword.value, "value", True)
            ]
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        found += [
            f"line {node.lineno}: import of {name}"
            for name in names
            if name.split(".")[0] in FORBIDDEN_MODULES
        ]
    return found


def late_imports(tree: ast.Module, module: str) -> list[str]:
    """Imports of slow libraries that stand at the top of a file or outside of their modules."""
    top = set(map(id, tree.body))
    found = []
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        for name in names:
            modules = LATE.get(name.split(".")[0])
            if modules is not None and (id(node) in top or module not in modules):
                found.append(f"line {node.lineno}: import of {name}")
    return found


def test_the_walk_sees_the_package():
    """Guards all tests below against passing because nothing was found."""
    names = {module_name(path) for path in FILES}
    assert len(FILES) >= 20
    assert {"resexpand", "resexpand.errors", "resexpand.expressions.reader"} <= names
    edges = graph()
    assert set(edges) == names
    assert "resexpand.errors" in edges["resexpand.references"]
    assert sum(map(len, edges.values())) > len(FILES)


def test_every_file_stands_on_a_floor():
    assert {room(module_name(path)) for path in FILES} <= set(FLOORS)


def test_imports_go_downward():
    assert upward(graph()) == []


def test_no_import_cycles():
    assert cycle(graph()) == []


def test_files_are_short_and_say_what_they_are():
    texts = {module_name(path): path.read_text() for path in FILES}
    assert [name for name, text in texts.items() if text.count("\n") > MAX_LINES] == []
    assert [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))] == []


def test_nothing_executes_text_or_hides_errors():
    trees = {module_name(path): ast.parse(path.read_text()) for path in FILES}
    found = {name: offences(tree) + late_imports(tree, name) for name, tree in trees.items()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def _house(tmp_path: Path, **files: str) -> dict[str, set[str]]:
    package = tmp_path / "resexpand"
    for name, text in files.items():
        path = package / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return graph(package)


@pytest.mark.parametrize(
    "text",
    [
        "import resexpand.theory",
        "from resexpand.theory import formula",
        "from resexpand import theory",
        "from . import theory",
        "from .theory.formula import Formula",
        "def f():\n    from resexpand.theory import formula",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import resexpand.theory.formula",
        "import resexpand",
        "from resexpand.cellar import x",
    ],
)
def test_control_an_upward_import_is_seen(tmp_path, text):
    edges = _house(
        tmp_path,
        __init__="",
        network=text,
        theory__in__formula="",
        theory__in____init__="",
        cellar="",
    )
    assert len(upward(edges)) == 1


def test_control_downward_imports_pass(tmp_path):
    edges = _house(
        tmp_path,
        errors="",
        network="from .errors import ResexpandError\nimport numpy",
        theory__in____init__="from resexpand.theory.formula import Formula",
        theory__in__formula="from ..network import ResNet\nfrom ..errors import E",
    )
    assert upward(edges) == []
    assert edges["resexpand.theory.formula"] == {"resexpand.network", "resexpand.errors"}
    assert cycle(edges) == []


def test_control_a_cycle_is_seen(tmp_path):
    edges = _house(
        tmp_path,
        theory__in__a="from resexpand.theory.b import x",
        theory__in__b="def f():\n    import resexpand.theory.c",
        theory__in__c="from .a import y",
        theory__in__d="from . import a",
        theory__in____init__="",
    )
    assert set(cycle(edges)) == {f"resexpand.theory.{name}" for name in "abc"}


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    f()\nexcept:\n    pass",
        "eval('1')",
        "exec('1')",
        "import pickle",
        "from pickle import loads",
        "sp.sympify(text)",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_control_an_offence_is_seen(text):
    assert len(offences(ast.parse(text))) == 1


@pytest.mark.parametrize(
    ("module", "text", "count"),
    [
        ("agreement.tails", "def f():\n    from scipy.special import ndtr", 0),
        ("agreement.tails", "from scipy.special import ndtr", 1),
        ("agreement.budget", "def f():\n    import scipy.special", 1),
    ],
)
def test_control_slow_libraries_are_imported_late(module, text, count):
    assert len(late_imports(ast.parse(text), f"resexpand.{module}")) == count


@pytest.mark.parametrize(
    "text",
    [
        "re.compile('x')",
        "np.load(f, allow_pickle=False)",
        "try:\n    f()\nexcept OSError:\n    pass",
    ],
)
def test_control_what_is_allowed_passes(text):
    assert offences(ast.parse(text)) == []
