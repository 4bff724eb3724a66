"""``--target``: where numbers are computed is said unless it is the plain processor."""

from __future__ import annotations

import json

import pytest

from resexpand import cli
from resexpand.codegen.cuda import device

NETWORK = ("--rho", "0.3", "--depth", "3", "--K0", "0.5")
COMMANDS = {
    "kernel": (*NETWORK,),
    "response": (*NETWORK,),
    "optimal-scale": NETWORK[2:],
    "sample": (*NETWORK, "--width", "16", "--draws", "64"),
}


@pytest.fixture
def no_gpu(monkeypatch):
    """Make the machine one without a GPU, whatever it is."""
    found = device.Obstacle("there is no driver", "install one")
    monkeypatch.setattr(device, "obstacle", lambda machine: found)


def output_of(capsys, *arguments):
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("command", COMMANDS)
def test_auto_says_what_it_took_and_why(command, capsys):
    plain = output_of(capsys, command, *COMMANDS[command])
    auto = output_of(capsys, command, *COMMANDS[command], "--target", "auto")
    assert plain[0] == auto[0] == 0
    assert auto[1].startswith(plain[1])
    said = auto[1][len(plain[1]) :]
    assert "cpu (there is no driver)" in said
    assert said.count("cpu") == 1


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_gpu_that_is_not_there_is_one_line(command, capsys):
    code, out, err = output_of(capsys, command, *COMMANDS[command], "--target", "cuda")
    assert code == 2
    assert not out
    assert err.count("\n") == 1
    assert "there is no driver" in err
    assert "install one" in err


@pytest.mark.usefixtures("no_gpu")
def test_the_record_names_the_target(capsys):
    _, out, _ = output_of(capsys, "kernel", *NETWORK, "--target", "auto", "--json")
    assert json.loads(out)["results"][0]["target"] == "cpu (there is no driver)"
