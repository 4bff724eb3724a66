"""The trials of the doctor on a device, run in the simulator."""

from __future__ import annotations

from resexpand.workflows.doctor import probes


def device_probes():
    """Answer the probes of a device at tiny sizes."""
    probes.DEPTH, probes.WIDTH, probes.DRAWS = 2, 8, 3
    routine, sampler = probes.PROBES["device routine"](), probes.device_sampler()
    return {
        "texts": [routine[0], sampler[0]],
        "error": routine[1]["relative_error"],
        "difference": sampler[1]["relative_difference"],
    }


def test_the_device_probes_run(simulator):
    found = simulator(device_probes)
    assert found["error"] < probes.EXACT
    assert found["difference"] < 1e-12
    routine, sampler = found["texts"]
    assert routine.startswith("kernel of a rectifier network, 2 layers")
    assert sampler.startswith("3 networks of width 8: those of the CPU to")
