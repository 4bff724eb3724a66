r"""Probes that compute: a tiny routine and a tiny sample, on each target.

What is tried has exact answers: for a branch of rectifier and weights of variance 2 the kernel is
:math:`K^l = (1 + \rho^2)^l K^0`, at infinite width and, on average, at any width.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from resexpand.workflows.doctor.missing import Found, Missing

if TYPE_CHECKING:
    from resexpand.codegen.cuda.offline import Usage

Target = Literal["cpu", "cuda"]

DEPTH, SCALE, WIDTH, DRAWS = 10, 0.5, 32, 256
EXACT = 1e-14
"""Allowed relative error of a kernel after ten layers."""
SURPRISE = 6.0
"""Allowed deviation of a sampled mean in standard errors."""
SAME = 1e-9
"""Allowed relative difference of the same networks on two targets."""


def _network() -> Any:
    from resexpand.network.activation import Activation
    from resexpand.network.linear import Linear
    from resexpand.network.resnet import Branch, ResNet

    return ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=SCALE, depth=DEPTH)


def _kernel(target: Target) -> tuple[Any, float]:
    """Return the kernel of all layers and its largest relative error."""
    from resexpand.codegen.evaluation import evaluate
    from resexpand.theory.mean_field import kernel

    found = evaluate(kernel(_network()), K0=1.0, target=target)["K"]
    exact = [(1.0 + SCALE**2) ** layer for layer in range(DEPTH + 1)]
    error = max(abs(float(f) / e - 1.0) for f, e in zip(found, exact, strict=True))
    if not error <= EXACT:
        raise Missing(f"the kernel of a rectifier network is off by {error:.1e}, not by rounding")
    return found, error


def _routine(target: Target) -> Found:
    _, error = _kernel(target)
    text = f"kernel of a rectifier network, {DEPTH} layers: relative error {error:.0e}"
    return text, {"relative_error": error}


def routine() -> Found:
    """Derive, compile and run a routine on the CPU."""
    return _routine("cpu")


def _estimate(target: Target) -> Any:
    from resexpand.montecarlo.sample import sample

    run = sample(_network(), "kernel", WIDTH, DRAWS, K0=1.0, seed=1, workers=1, target=target)
    return run["kernel"]


def sampler() -> Found:
    """Draw networks on the CPU and compare their mean with the exact kernel."""
    estimate = _estimate("cpu")
    last, error = float(estimate.mean[-1]), float(estimate.stderr[-1])
    z = (last - (1.0 + SCALE**2) ** DEPTH) / error
    if not abs(z) < SURPRISE:
        raise Missing(f"{DRAWS} networks are {z:.1f} standard errors from the exact kernel")
    text = f"{DRAWS} networks of width {WIDTH}: {abs(z):.1f} standard errors from the exact kernel"
    return text, {"networks": DRAWS, "width": WIDTH, "z": z}


def assembled_routine() -> Found:
    """Compile a routine for compute capability 9.0, without a device, and assemble it."""
    from resexpand.codegen.cuda.inspection import usage
    from resexpand.theory.mean_field import kernel

    return _in_registers("the same kernel", usage(kernel(_network()))["run"])


def assembled_sampler() -> Found:
    """Compile a sampler for compute capability 9.0, without a device, and assemble it."""
    from resexpand.montecarlo.concrete import concrete
    from resexpand.montecarlo.cuda.inspection import sampler_usage
    from resexpand.montecarlo.engine import make_sampler
    from resexpand.montecarlo.input_kernel import input_kernel
    from resexpand.montecarlo.observables import select

    net = _network()
    built = make_sampler(
        net.branch,
        concrete(net, {}),
        input_kernel(1.0, None, None),
        select("kernel", 1),
        width=WIDTH,
        method="function-space",
        seed=1,
        target="cuda",
    )
    return _in_registers("the same networks", sampler_usage(built))


def _in_registers(what: str, usage: Usage) -> Found:
    if not usage.in_registers:
        raise Missing(f"{what} for sm_90: not all is kept in registers ({usage})")
    text = f"{what} for sm_90, not run: {usage.registers} registers, no stack, no spills"
    return text, asdict(usage)


def device_routine() -> Found:
    """Compile a routine for the device and run it there."""
    return _routine("cuda")


def device_sampler() -> Found:
    """Draw networks on the device and compare them with the same networks of the CPU."""
    expected, found = _estimate("cpu").mean, _estimate("cuda").mean
    pairs = zip(found, expected, strict=True)
    difference = max(abs(float(f) / float(e) - 1.0) for f, e in pairs)
    if not difference <= SAME:
        raise Missing(f"networks of one seed differ between CPU and device by {difference:.1e}")
    text = f"{DRAWS} networks of width {WIDTH}: those of the CPU to {difference:.0e}"
    return text, {"networks": DRAWS, "width": WIDTH, "relative_difference": difference}
