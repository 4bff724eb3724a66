"""What the doctor tries where there is a device, tried in the simulator."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from resexpand.workflows.doctor import trials
from resexpand.workflows.doctor.missing import Missing


def device_probes():
    """Answer the probes of a device at tiny sizes."""
    trials.DEPTH, trials.WIDTH, trials.DRAWS = 2, 8, 3
    routine, sampler = trials.device_routine(), trials.device_sampler()
    return {
        "texts": [routine[0], sampler[0]],
        "error": routine[1]["relative_error"],
        "difference": sampler[1]["relative_difference"],
    }


def test_the_device_probes_run(simulator):
    found = simulator(device_probes)
    assert found["error"] < trials.EXACT
    assert found["difference"] < 1e-12
    routine, sampler = found["texts"]
    assert routine.startswith("kernel of a rectifier network, 2 layers")
    assert sampler.startswith("3 networks of width 8: those of the CPU to")


@pytest.mark.usefixtures("ptxas")
@pytest.mark.parametrize(
    ("probe", "what"),
    [
        (trials.assembled_routine, "the same kernel"),
        (trials.assembled_sampler, "the same networks"),
    ],
)
def test_without_a_device_they_are_assembled(probe, what):
    text, facts = probe()
    assert text.startswith(f"{what} for sm_90, not run: ")
    assert 0 < facts["registers"] <= 255
    assert facts["stack"] == facts["spill_stores"] == facts["spill_loads"] == 0


def test_control_spilled_registers_are_no_health():
    usage = SimpleNamespace(registers=255, in_registers=False)
    with pytest.raises(Missing, match="not all is kept in registers"):
        trials._in_registers("the same kernel", usage)
