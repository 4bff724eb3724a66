"""The store of generated modules: one file per text, safe to share, and nothing compiled twice."""

from __future__ import annotations

import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resexpand.codegen import store

SOURCE = '''"""A generated module."""

from resexpand.codegen.targets import cpu as _t

driver = _t.driver
fn_erf = _t.function("erf")


@driver
def run(x):
    return fn_erf(x) + {number}
'''

UNCOMPILED = """
class Stats:
    cache_hits = cache_misses = {}


def run(x):
    return x


run.stats = Stats
"""

CHILD = """
import sys
from pathlib import Path
from resexpand.codegen import store
module = store.load(Path(sys.argv[1]).read_text())
module.run(0.5)
print(sum(module.run.stats.cache_hits.values()), sum(module.run.stats.cache_misses.values()))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_module_is_a_file_named_by_its_hash(cache):
    text = "def f(x):\n    return x + 1\n"
    module = store.load(text)
    assert Path(module.__file__) == cache / f"{store.key(text)}.py"
    assert Path(module.__file__).read_text() == text
    assert module.f(1) == 2
    assert store.load(text) is module
    assert [path.suffix for path in cache.iterdir() if path.is_file()] == [".py"]


def test_traceback_points_at_generated_code(cache):
    module = store.load("def f(x):\n    return 1 / x\n")
    with pytest.raises(ZeroDivisionError) as caught:
        module.f(0)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.line) == (module.__file__, "return 1 / x")


def test_second_process_compiles_nothing(cache, tmp_path):
    path = tmp_path / "source.txt"
    path.write_text(SOURCE.format(number=1.0))
    runs = [
        subprocess.run(
            [sys.executable, "-c", CHILD, str(path)], capture_output=True, check=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert runs == [["0", "1"], ["1", "0"]]


def test_changed_file_is_rewritten_and_never_run(cache):
    text = "def f():\n    return 'right'\n"
    path = cache / f"{store.key(text)}.py"
    cache.mkdir()
    path.write_text("raise RuntimeError('foreign code was run')\n")
    assert store.load(text).f() == "right"
    assert path.read_text() == text


def test_racing_processes_agree(cache, tmp_path):
    path = tmp_path / "source.txt"
    path.write_text(UNCOMPILED)
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [child.communicate() and child.returncode for child in children] == [0] * 4
    assert [p.name for p in cache.iterdir() if p.is_file()] == [f"{store.key(path.read_text())}.py"]


def test_threads_share_one_module(cache):
    text = "VALUE = object()\n"
    with ThreadPoolExecutor(8) as pool:
        assert len({id(module) for module in pool.map(store.load, [text] * 32)}) == 1


def test_unwritable_folder_warns_once_and_works(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv(store.VARIABLE, str(blocked / "cache"))
    with pytest.warns(store.CacheWarning, match="RESEXPAND_CACHE"):
        first = store.load("def f():\n    return 'first, unwritable'\n")
    # Warnings are errors here: a second one would fail the test.
    second = store.load("def f():\n    return 'second, unwritable'\n")
    assert (first.f(), second.f()) == ("first, unwritable", "second, unwritable")


def test_failing_text_leaves_no_module(cache):
    text = "raise ValueError('on import')\n"
    for _ in range(2):
        with pytest.raises(ValueError, match="on import"):
            store.load(text)
    assert f"resexpand_generated_{store.key(text)}" not in sys.modules


def test_key_depends_on_text_andfoundation(monkeypatch):
    first = store.key("a = 1\n")
    assert first != store.key("a = 2\n")
    store.foundation.cache_clear()
    monkeypatch.setattr(store, "_version", lambda package: "another")
    try:
        assert store.key("a = 1\n") != first
    finally:
        store.foundation.cache_clear()
