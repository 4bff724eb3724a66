"""The command line end to end: answers, strict JSON, one-line errors, exit codes.

Numbers are compared with the equations themselves, written out here again, not with the functions
the command calls.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from resexpand import cli
from resexpand.cli import theory_commands
from resexpand.cli.layout import pairs
from resexpand.cli.parser import build_parser
from resexpand.cli.show import MAX_ROWS
from resexpand.cli.values import integer, matrix, number, numbers
from resexpand.errors import HyperparameterError, ResexpandError, StoreError
from resexpand.network.files import array_file


def unit_erf_kernel(depth, rho, variance, bias, k):
    """K^0 ... K^L of the network with unit-slope erf, q = pi/2."""
    q = math.pi / 2
    found = [k]
    for _ in range(depth):
        k += rho**2 * (variance * 2 / math.pi * math.asin(q * k / (1 + q * k)) + bias)
        found.append(k)
    return found


# -- answers --------------------------------------------------------------------------------------


def test_kernel(answer):
    variances = ("--weight-variance", "1.2", "--bias-variance", "0.05")
    record = answer("kernel", "--depth", 4, "--rho", "0.3", *variances, "--K0", "0.7")
    (result,) = record["results"]
    assert result["depth"] == 4
    np.testing.assert_allclose(result["K"], unit_erf_kernel(4, 0.3, 1.2, 0.05, 0.7), rtol=1e-12)
    assert len(result["C"]) == 5
    assert result["status"] == "ok"
    assert record["settings"]["weight_variance"] == "6/5"
    assert record["formulas"]["C"]
    assert any("Fischer" in citation for citation in record["citations"])


def test_kernel_table(call):
    code, out, err = call("kernel", "--depth", 2, "--rho", "1/2", "--activation", "relu")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    rows = [line.split() for line in lines[lines.index("depth 2") + 1 :]]
    assert rows[0] == ["l", "K", "C(l+1)"]
    # relu: K grows by the factor 1 + rho^2/2 = 9/8.
    assert [row[1] for row in rows[1:]] == ["1", "1.125", "1.26562"]
    assert "relu" not in lines[0]
    assert any(line.split()[:2] == ["phi(x)", "="] for line in lines)


def test_kernel_of_a_pair(answer):
    record = answer("kernel", "--K0", "1,0;0,4", "--depth", 1, "--activation", "relu")
    k = np.array(record["results"][0]["K"])
    assert k.shape == (2, 2, 2)
    # At theta = pi/2: <phi phi> = sqrt(K11 K22)/(2 pi).
    np.testing.assert_allclose(k[1], [[1.5, 2 / (2 * math.pi)], [2 / (2 * math.pi), 6]])


def test_kernel_of_a_batch(answer):
    branch = "BatchNorm; relu; Linear(2, 0)"
    record = answer(
        *("kernel", "--branch", branch, "--rho", "1", "--depth", 3, "--inputs", "batch"),
        *("--K0", "1,0.5,0.5;0.5,1,0.5;0.5,0.5,1"),
    )
    (result,) = record["results"]
    found = np.array(result["K"])
    np.testing.assert_allclose(found[:, 0, 0], [1, 2, 3, 4], rtol=1e-12)
    # Two entries of a batch of three are at the cosine -1/2, whose pair average is known.
    angle = math.acos(-0.5)
    pair = (math.sin(angle) - 0.5 * (math.pi - angle)) / (2 * math.pi)
    np.testing.assert_allclose(np.diff(found[:, 0, 1]), 2 * pair, rtol=1e-9)


def test_kernel_of_two_masks(answer):
    options = ("--rho", "1", "--depth", 2, "--inputs", "masks", "--K0", "0.8")
    record = answer("kernel", "--branch", "Dropout(0.5); Linear(2, 0)", *options)
    found = np.array(record["results"][0]["K"])
    np.testing.assert_allclose(found[:, 0, 0], [0.8, 4.0, 20.0], rtol=1e-12)
    np.testing.assert_allclose(found[:, 0, 1], [0.8, 2.4, 7.2], rtol=1e-12)


@pytest.mark.parametrize(
    ("command", "more", "why"),
    [
        ("response", ("--inputs", "batch"), "resexpand kernel --inputs batch"),
        ("kernel", ("--inputs", "batch"), "nothing in it is averaged over a batch"),
        ("kernel", ("--inputs", "x.npy", "--K0", "1"), "give one of them"),
        ("validate", ("--inputs", "x.npy", "--K0", "1", "--out", "x"), "give one of them"),
        ("validate", ("--post-norm", "tanh", "--out", "x"), "would not be Gaussian"),
    ],
)
def test_words_for_inputs_belong_to_kernels(call, command, more, why):
    code, _, err = call(command, *more)
    assert code != 0
    assert why in err


def test_sweep_spans_a_grid(answer):
    record = answer("kernel", "--rho", "0:1:3", "--K0", "0.5,2", "--depth", "2,3")
    assert [result["depth"] for result in record["results"]] == [2, 3]
    assert record["settings"]["axes"] == {"rho": [0, 0.5, 1], "K0": [0.5, 2]}
    for result in record["results"]:
        k = np.array(result["K"])
        assert k.shape == (3, 2, result["depth"] + 1)
        for i, rho in enumerate((0, 0.5, 1)):
            for j, start in enumerate((0.5, 2)):
                expected = unit_erf_kernel(result["depth"], rho, 1, 0, start)
                np.testing.assert_allclose(k[i, j], expected, rtol=1e-12)


def test_sweep_table_shows_the_last_layer(call):
    code, out, _ = call("response", "--rho", "0:1:3", "--depth", 2, "--activation", "identity")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    header = lines.index(["rho", "K(L)", "chi_0(L)", "eta"])
    # Linear: dK^L/dK^0 = (1 + rho^2)^L.
    assert [row[2] for row in lines[header + 1 : header + 4]] == ["1", "1.5625", "4"]


@pytest.mark.parametrize(
    ("kind", "start", "expected"),
    [("variance", "1", 1.5), ("tangent", "1", 1.5), ("covariance", "1,0;0,1", 1.25)],
)
def test_response_of_relu(answer, kind, start, expected):
    """One block: V' = 1/2, <phi'^2> = 1/2, and <phi' phi'> = 1/4 for orthogonal inputs."""
    record = answer("response", "--kind", kind, "--K0", start, "--depth", 1, "--activation", "relu")
    assert record["settings"]["kind"] == kind
    chi = record["results"][0]["chi_0"]
    np.testing.assert_allclose(chi, [1, expected], rtol=1e-12)


@pytest.mark.parametrize(("kind", "expected"), [("variance", 0.3888), ("covariance", 3.379)])
def test_optimal_scale(answer, kind, expected):
    record = answer("optimal-scale", "--kind", kind, "--K0", "0.1", "--depth", "400,800")
    first, second = record["results"]
    assert float(first["K_star"]) == pytest.approx(expected, rel=2e-4)
    assert float(first["rho"]) * 20 == pytest.approx(float(first["c"]), rel=0.02)
    closer = abs(float(second["rho"]) * math.sqrt(800) / float(second["c"]) - 1)
    assert closer < abs(float(first["rho"]) * 20 / float(first["c"]) - 1)


def test_no_optimum_is_null_with_a_reason(answer):
    record = answer("optimal-scale", "--kind", "tangent", "--activation", "relu", "--depth", 10)
    (result,) = record["results"]
    assert result["rho"] is None
    assert result["status"] != "ok"
    assert any("rho" in item["pointer"] for item in record["not_finite"])


def test_activation_as_expression(answer):
    named = answer("kernel", "--depth", 2, "--activation", "relu")["results"]
    typed = answer("kernel", "--depth", 2, "--activation", "max(0, x)")["results"]
    np.testing.assert_allclose(named[0]["K"], typed[0]["K"], rtol=1e-9)


def test_overflow_is_reported_not_returned(call):
    arguments = ("kernel", "--activation", "relu", "--rho", 1, "--depth", 2000)
    code, out, err = call(*arguments, "--json")
    record = json.loads(out)
    assert code == 0
    assert record["results"][0]["status"] != "ok"
    assert record["results"][0]["K"][-1] is None
    assert record["not_finite"]
    assert err.startswith("resexpand: depth 2000: ")


@pytest.mark.parametrize("method", ["function-space", "dense"])
def test_sample_agrees_with_the_exact_linear_mean(answer, method):
    """Linear blocks: E G^L = K0 (1 + rho^2 sigma_w^2)^L at every width."""
    network = ("--activation", "identity", "--rho", "0.5", "--depth", 3)
    sampling = ("--width", 8, "--draws", 4000, "--seed", 3, "--method", method)
    record = answer("sample", *network, *sampling)
    estimate = record["results"]["kernel"]
    z = (np.array(estimate["mean"]) - 1.25 ** np.arange(4)) / np.array(estimate["stderr"])
    assert np.abs(z).max() < 4.5
    wrong = (estimate["mean"][-1] - 1.3**3) / estimate["stderr"][-1]
    assert abs(wrong) > 4.5
    assert estimate["n"] == 4000
    assert record["settings"]["sampling"]["seed"] == 3


def test_sample_does_not_depend_on_workers(answer):
    common = ("sample", "--depth", 2, "--width", 8, "--draws", 64, "--observables", "kernel,output")
    one, two = (answer(*common, "--workers", n)["results"] for n in (1, 2))
    assert one == two
    assert set(one) == {"kernel", "output"}


def test_sample_table(call):
    code, out, _ = call("sample", "--depth", 2, "--width", 8, "--draws", 64)
    assert code == 0
    assert out.splitlines()[1].split() == ["l", "mean", "stderr"]
    assert len(out.splitlines()) == 5


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_inputs_from_a_file(answer, tmp_path, suffix):
    data = np.array([[1.0, 2, 0, 0], [0, 1, 1, 0]])
    path = tmp_path / f"data{suffix}"
    if suffix == ".npy":
        np.save(path, data)
    else:
        path.write_text("# two inputs\n1, 2, 0, 0\n0; 1 1\t0\n")
    record = answer("kernel", "--inputs", path, "--read-in-variance", "1/2", "--depth", 1)
    k0 = np.array(record["results"][0]["K"])[..., 0, :, :]
    np.testing.assert_allclose(k0, data @ data.T / 4 / 2)


def test_long_tables_are_thinned(call):
    _, out, _ = call("kernel", "--depth", 500)
    lines = out.splitlines()
    rows = [line for line in lines if line.split() and line.split()[0].isdigit()]
    assert len(rows) == MAX_ROWS
    assert (rows[0].split()[0], rows[-1].split()[0]) == ("0", "500")
    assert lines[-1] == f"({MAX_ROWS} of 501 rows; --json has all)"


# -- wrong input ----------------------------------------------------------------------------------

WRONG = {
    "unknown activation": (["kernel", "--activation", "reluu"], "reluu"),
    "hostile activation": (["kernel", "--activation", "__import__('os')"], "__import__"),
    "hostile name": (["kernel", "--activation", "__import__"], "__import__"),
    "foreign symbol": (["kernel", "--activation", "x*y"], "unknown name y"),
    "constant activation": (["kernel", "--activation", "2*3"], "symbol"),
    "huge power": (["kernel", "--activation", "9**9**9"], "exponent"),
    "negative variance": (["kernel", "--weight-variance", "-1"], "negative"),
    "negative variance in a list": (["kernel", "--bias-variance=1,-1"], "negative"),
    "not a number": (["kernel", "--rho", "abc"], "no number"),
    "infinite": (["kernel", "--rho", "inf"], "no number"),
    "nan": (["kernel", "--K0", "nan"], "no number"),
    "empty": (["kernel", "--rho", ""], "no number"),
    "hostile number": (["kernel", "--rho", "__import__('os').getpid()"], "no number"),
    "depth 0": (["kernel", "--depth", "0"], "whole number"),
    "negative depth": (["kernel", "--depth", "-3"], "whole number"),
    "fractional depth": (["kernel", "--depth", "2.5"], "whole number"),
    "range of two": (["kernel", "--rho", "0:1"], "three parts"),
    "range of one": (["kernel", "--rho", "0:1:1"], "whole number"),
    "huge range": (["kernel", "--rho", "0:1:1e9"], "more than"),
    "ragged matrix": (["kernel", "--K0", "1,2;3"], "rows"),
    "not symmetric": (["kernel", "--K0", "1,0.5;0,1"], "symmetric"),
    "not PSD": (["kernel", "--K0", "1,2;2,1"], "semi-definite"),
    "negative K0": (["kernel", "--K0=-1"], "negative"),
    "covariance of one input": (["response", "--kind", "covariance"], "inputs"),
    "scale of optimal scale": (["optimal-scale", "--rho", "1"], "leave it out"),
    "optimal scale of a matrix": (["optimal-scale", "--K0", "1,0.1;0.1,1"], "one input alone"),
    "sampling a grid": (["sample", "--rho", "0:1:3"], "one value"),
    "sampling depths": (["sample", "--depth", "1,2"], "one value"),
    "no width": (["sample", "--width", "0"], "whole number"),
    "one draw": (["sample", "--draws", "1"], "whole number"),
    "negative seed": (["sample", "--seed", "-1"], "whole number"),
    "unknown observable": (["sample", "--observables", "kernle"], "kernle"),
    "missing file": (["kernel", "--inputs", "missing.npy"], "No such file"),
    "foreign file": (["kernel", "--inputs", "data.pkl"], ".npy"),
    "read-in alone": (["kernel", "--read-in-variance", "1"], "--inputs"),
    "unknown option": (["kernel", "--widht", "3"], "--widht"),
    "unknown command": (["kernle"], "kernle"),
    "no command": ([], "COMMAND"),
    "missing value": (["kernel", "--rho"], "expected one argument"),
    "unknown kind": (["response", "--kind", "x"], "invalid choice"),
    "a folder for formulas": (["latex", "--out", "."], "it is a folder"),
    "two sources": (["kernel", "--K0", "1", "--inputs", "a.npy"], "give one of them"),
}


@pytest.mark.parametrize(("arguments", "why"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_line(call, arguments, why):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("resexpand: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert ";" in err, "no remedy"
    assert why in err
    assert "Traceback" not in err


BAD_FILES = {
    "nan.npy": np.array([[1.0, np.nan]]),
    "vector.npy": np.ones(3),
    "empty.npy": np.ones((0, 3)),
    "complex.npy": np.ones((1, 2), dtype=complex),
    "words.npy": np.array([["a", "b"]]),
    "ragged.csv": "1,2\n3\n",
    "words.csv": "a,b\n",
    "blank.csv": "\n\n",
    "nan.csv": "1,nan\n",
    "inf.csv": "1,inf\n",
    "binary.csv": b"\xff\xfe\x00",
    "text.npy": "1,2\n",
    "blank.npy": "",
}


@pytest.mark.parametrize(("name", "content"), BAD_FILES.items(), ids=BAD_FILES)
def test_bad_input_files(call, tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = call("kernel", "--inputs", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert name in err


def test_a_pickle_is_not_loaded(call, tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    np.save(tmp_path / "data.npy", np.array([Harm()], dtype=object), allow_pickle=True)
    code, _, err = call("kernel", "--inputs", tmp_path / "data.npy")
    assert code == 2
    assert "data.npy" in err
    assert not (tmp_path / "harm").exists()


def test_a_warning_is_one_line(call, monkeypatch):
    def warns(*_, **__):
        warnings.warn("nothing can be kept", UserWarning, stacklevel=2)
        raise HyperparameterError("x", "y", "z")

    monkeypatch.setattr(theory_commands, "kernel", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        _, _, err = call("kernel")
    assert err == "resexpand: nothing can be kept\nresexpand: error: x: y; z\n"


def test_an_interrupt_ends_with_130(call, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(theory_commands, "kernel", interrupted)
    code, out, err = call("kernel")
    assert (code, out, err) == (130, "", "resexpand: error: interrupted\n")


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    """Only errors raised on purpose are shortened to a line."""

    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(theory_commands, "kernel", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["kernel"])


# -- the process ----------------------------------------------------------------------------------


def _process(*arguments, **keywords):
    return subprocess.run(
        [sys.executable, "-m", "resexpand", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **keywords,
    )


def test_module_runs_as_a_process():
    run = _process("--version")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("resexpand ")
    run = _process("kernel", "--depth", "0")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1


def test_output_does_not_change_with_the_hash_seed():
    texts = {
        _process("response", "--depth", "2", env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert texts.pop().count("\n") > 5


def test_a_closed_pipe_is_no_error():
    """``resexpand kernel | head -1`` leaves nothing on the error stream."""
    command = f"{sys.executable} -m resexpand kernel --depth 2000 --json"
    process = subprocess.Popen(command.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=300)
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors
    assert process.returncode != -signal.SIGPIPE


@pytest.mark.parametrize(
    "command", ["kernel", "response", "optimal-scale", "sample", "latex", "validate"]
)
def test_every_command_explains_itself(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert "--json" in out
    assert "--activation" in out
    assert build_parser().parse_args([command]).command == command


# -- values ---------------------------------------------------------------------------------------


def test_values_are_exact():
    assert str(number("0.1", "--rho")) == "1/10"
    assert str(number("sqrt(2)", "--rho")) == "sqrt(2)"
    assert [str(v) for v in numbers("0:1:4", "--rho")] == ["0", "1/3", "2/3", "1"]
    assert [str(v) for v in numbers("max(1, 2),3", "--rho")] == ["2", "3"]
    assert integer("1e4", "--draws") == 10_000
    assert integer("0", "--seed", minimum=0) == 0
    assert integer(str(2**63 - 1), "--seed") == 2**63 - 1
    assert matrix("1,1/2;1/2,4", "--K0").tolist() == [[1, 0.5], [0.5, 4]]
    with pytest.raises(HyperparameterError, match=r"--seed"):
        integer(str(2**63), "--seed")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(StoreError, match=r"folder.npy"):
        array_file(str(tmp_path / "folder.npy"))
    assert issubclass(StoreError, ResexpandError)


def test_columns_of_pairs():
    values = np.arange(8.0).reshape(2, 2, 2)
    found = list(pairs("K", values, 1))
    assert [name for name, _ in found] == ["K_11", "K_12", "K_22"]
    assert found[1][1].tolist() == [1, 5]
    assert [name for name, _ in pairs("y", np.ones(3), 0)] == ["y_1", "y_2", "y_3"]


def test_operations_and_scales_as_in_a_paper(capsys: pytest.CaptureFixture[str]) -> None:
    """Kinds in small letters between commas, and a scale that follows the depth."""
    own = "Linear(1, 0); tanh; Linear(1, 0.1)"
    shown = []
    for branch, rho in ((own, "0.5"), ("linear(1, 0), tanh, linear(1,0.1)", "1/sqrt(L)")):
        assert cli.main(["kernel", "--branch", branch, "--rho", rho, "--depth", "4"]) == 0
        shown.append(capsys.readouterr().out.splitlines()[-6:])
    assert shown[0] == shown[1]
    assert cli.main(["kernel", "--rho", "1/L,1/sqrt(L)"]) == 2
    assert "the same numbers at every depth" in capsys.readouterr().err
