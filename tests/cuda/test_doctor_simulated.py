"""What the doctor tries where there is a device, tried in the simulator."""

from __future__ import annotations

import pytest

from resexpand.workflows.doctor import trials


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
def test_a_routine_is_assembled_without_a_device():
    text, facts = trials.assembled()
    assert text.startswith("the same kernel for sm_90, not run: ")
    assert 0 < facts["registers"] <= 255
    assert facts["stack"] == facts["spill_stores"] == facts["spill_loads"] == 0
