"""``resexpand order-profile``: the table, the record, the figure, and what cannot be asked."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.cli import main
from resexpand.errors import HyperparameterError
from resexpand.export.figures.profile import Shares, profile_figure

COMMAND = ("order-profile",)


def test_the_record_follows_scalings_over_depths(call) -> None:
    options = ["--activation", "identity", "--order", "2", "--rho", "1/L,1/sqrt(L)"]
    code, out, err = call(*options, "--depth", "4,9", "--json")
    assert (code, err) == (0, "")
    results = json.loads(out)["results"]
    assert [(r["rho"], r["depth"]) for r in results] == [
        ("1/L", 4), ("1/L", 9), ("1/sqrt(L)", 4), ("1/sqrt(L)", 9),
    ]  # fmt: skip
    for result in results:
        n, square = result["depth"], {"1/L": -2, "1/sqrt(L)": -1}[result["rho"]]
        want = [comb(n, k) * float(n) ** (square * k) for k in range(3)]
        np.testing.assert_allclose(np.diagonal(result["profile"]), want, rtol=1e-13)


def test_the_table_shows_shares(call) -> None:
    code, out, _ = call("--activation", "relu", "--basis", "paths", "--depth", "4")
    assert code == 0
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("rho = "))
    assert lines[start] == "rho = 1/sqrt(L), depth 4, K(L) = 1.60181"
    assert lines[start + 1].split()[:2] == ["order", "E|T_k|^2/N"]
    shares = [float(line.split()[2]) for line in lines[start + 2 : start + 6]]
    want = np.array([comb(4, k) / 8.0**k for k in range(4)]) / (9 / 8) ** 4
    np.testing.assert_allclose(shares, want, rtol=1e-5)


def test_a_network_without_signal_has_shares_of_zero(call, tmp_path: Path) -> None:
    options = ["--order", "1", "--K0", "0", "--depth", "2,3", "--out", str(tmp_path / "dark")]
    code, out, _ = call("--activation", "identity", *options)
    assert code == 0
    assert [line.split() for line in out.splitlines()][-1] == ["1", "0", "0", "0"]


def test_the_figure_is_written(call, tmp_path: Path) -> None:
    options = ["--activation", "erf", "--order", "2", "--depth", "2,4", "--remainder"]
    code, _, err = call(*options, "--out", str(tmp_path / "orders"))
    assert code == 0
    assert err.count("wrote") == 2
    assert {p.suffix for p in tmp_path.iterdir()} == {".pdf", ".png"}


def test_few_depths_are_labelled_themselves() -> None:
    def labels(*depths: float) -> list[str]:
        found = np.array(depths)
        figure = profile_figure([Shares("1/L", found, np.ones((len(found), 2)))])
        figure.canvas.draw()
        axis = figure.axes[0].xaxis
        assert not any(label.get_text() for label in axis.get_ticklabels(minor=True))
        return [label.get_text() for label in axis.get_ticklabels()]

    assert labels(4, 16, 64) == ["4", "16", "64"]
    assert labels(2, 3, 4, 5, 6, 7, 8) == ["2", "5", "8"]
    assert "4" not in labels(4, 4000)


def test_a_figure_of_nothing_is_refused() -> None:
    with pytest.raises(HyperparameterError, match="0 scalings"):
        profile_figure([])
    one = Shares("x", np.array([2.0]), np.ones((1, 2)))
    with pytest.raises(HyperparameterError, match="two or more depths"):
        profile_figure([one])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--order", "0"], "--order 0"),
        (["--order", "99"], "order 99"),
        (["--rho", "1/M"], "1/M"),
        (["--activation", "relu"], "gated path sum"),
        (["--K0", "1,2"], "order profile over several"),
        (["--weight-variance", "1,2"], "order profile over several"),
        (["--basis", "paths"], "two slopes"),
    ],
)
def test_wrong_input_is_one_line(call, options: list[str], said: str) -> None:
    code, out, err = call(*options, "--depth", "3")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_sample_may_be_controlled(capsys) -> None:
    sizes = ["--width", "50", "--draws", "200", "--depth", "3", "--rho", "0.3"]
    options = ["sample", *sizes, "--control", "infinite-width"]
    assert main([*options, "--json"]) == 0
    kernel = json.loads(capsys.readouterr().out)["results"]["kernel"]
    assert min(kernel["gain"][2:]) > 1000
    assert main(options) == 0
    assert "times smaller" in capsys.readouterr().out
    assert main([*options, "--method", "dense"]) == 2
    assert "function-space" in capsys.readouterr().err


def test_sampled_orders_count_from_zero(capsys) -> None:
    sizes = ["--width", "50", "--draws", "20", "--depth", "2"]
    assert main(["sample", *sizes, "--observables", "order_profile(1)"]) == 0
    header = capsys.readouterr().out.splitlines()[1].split()
    assert header[1::2] == ["mean_00", "mean_01", "mean_11"]


def test_an_estimate_is_found_under_the_text_it_was_asked_for() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.3, depth=2)
    found = sample(net, ["order_profile(1)", "kernel"], 20, 10, K0=1.0)
    assert found["order_profile(1)"] is found["order_profile"]
    assert "order_profile" in found
    with pytest.raises(KeyError):
        found["order_profile(2)"]
    with pytest.raises(KeyError):
        found["kernel(2)"]
