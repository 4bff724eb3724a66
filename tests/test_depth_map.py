"""The map of the regimes of depth: rows are kept, and resumed from, and cut lines are left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from resexpand import Activation, Branch, Linear, evaluate, gradient_moments, kernel
from support import depth_map as module
from support.depth_map import depth_map

BRANCH = Branch(Linear(1, 0), Activation("relu"), Linear(1, 0))
BETAS, EXPONENTS = [0.4, 0.9], [0.3, 0.7, 0.9]


def test_a_map_is_resumed(tmp_path: Path, monkeypatch) -> None:
    store, calls = tmp_path / "map.jsonl", []
    first = depth_map(BRANCH, 12, BETAS, EXPONENTS[:2], store)
    text = store.read_text()
    assert text.count("\n") == 2
    store.write_text(text + text.splitlines()[0][:40])
    real = module.distances
    monkeypatch.setattr(module, "distances", lambda *given: calls.append(given[-1]) or real(*given))
    whole = depth_map(BRANCH, 12, BETAS, EXPONENTS, store, progress=lambda done, total: None)
    assert calls == [0.9]
    np.testing.assert_array_equal(whole["forward"][:2], first["forward"])
    # Other settings are other rows.
    depth_map(BRANCH, 13, BETAS, EXPONENTS[:1], store)
    assert calls == [0.9, 0.3]
    net = module.family(BRANCH)
    given = {"K0": 1.0, "depth": 12, "beta": 0.9, "H": 0.7}
    distance = np.sqrt(evaluate(kernel(net), **given)["K"][-1] - 1)
    assert whole["forward"][1, 1] == np.log10(distance)
    back = np.sqrt(evaluate(gradient_moments(net), **given)["gradient"][0] - 1)
    assert abs(whole["gradient"][1, 1] - np.log10(back)) < 1e-12
    rows = [json.loads(line) for line in store.read_text().splitlines() if line.endswith("}}")]
    assert {row["settings"]["H"] for row in rows} == set(EXPONENTS)
