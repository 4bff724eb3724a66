"""Convolution and attention: kernels over positions beside neural-tangents.

    python benchmarks/columns.py --tangents PYTHON [--out FILE]

The same residual networks, three blocks over inputs with positions, in this package and in
neural-tangents 0.6.5 (`stax.Conv`, `stax.GlobalSelfAttention`, `stax.GlobalAvgPool`,
`stax.Flatten`; float64, in a process of its own). The record says how far the kernels of their
outputs lie apart, and, as a control, how far those of networks with other shares of the offsets or
another scale of the logits. Without a peer it holds our kernels alone.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand import Activation, Attention, Branch, Conv, Linear, ResNet, evaluate, kernel
from resexpand.export.record import write_record

RESULTS = Path(__file__).parent / "results" / "columns.json"
SCALE, WEIGHT, BIAS, DEPTH = 0.6, 1.7, 0.1, 3
INPUTS, POSITIONS, FEATURES = 3, 5, 11
THIRDS, OTHER = (1 / 3, 1 / 3, 1 / 3), (0.3, 0.3, 0.4)
Array = NDArray[np.float64]


def conv(name: str, shares: tuple[float, ...], *, circular: bool) -> Branch:
    """Return a branch of an activation and a convolution."""
    over = Conv((-1, 0, 1), WEIGHT, BIAS, shares=shares, circular=circular)
    return Branch(Activation(name), over)


def attention(**setting: Any) -> Branch:
    """Return a branch of attention and its values."""
    return Branch(Attention(**setting), Linear(WEIGHT, BIAS))


FAST = {"logits": "1/sqrt(d)", "softmax": False}
CASES = {
    "circular, pooled": (
        conv("relu", THIRDS, circular=True),
        conv("relu", THIRDS, circular=False),
    ),
    "circular, flattened": (
        conv("relu", THIRDS, circular=True),
        conv("relu", OTHER, circular=False),
    ),
    "zeros, pooled": (conv("erf", THIRDS, circular=False), conv("erf", OTHER, circular=False)),
    "tied softmax 1/d": (attention(), attention(weight_variance=1.1)),
    "tied identity 1/d": (attention(softmax=False), attention(softmax=False, weight_variance=1.1)),
    "identity 1/sqrt(d)": (attention(**FAST), attention(**FAST, weight_variance=1.1)),
}
"""By name of the peer's network: the branch, and a wrong one."""


def head(name: str, branch: Branch, start: Array) -> Array:
    """Return the kernel of the outputs of all inputs."""
    net = ResNet(branch, scale=SCALE, depth=DEPTH, positions=POSITIONS)
    last = evaluate(kernel(net, inputs="positions"), K0=start, outputs="K")["K"][-1]
    blocks = last.reshape(INPUTS, POSITIONS, INPUTS, POSITIONS)
    if "flattened" in name:
        return np.asarray(np.einsum("apbp->ab", blocks) / POSITIONS)
    return np.asarray(blocks.mean(axis=(1, 3)))


def peers(python: Path, data: Array) -> dict[str, Array]:
    """Return the kernels of neural-tangents."""
    worker = Path(__file__).with_name("columns_worker.py")
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "given.npz"), Path(folder, "answer.npz")
        np.savez(given, x=data)
        subprocess.run([python, worker, given, answer], check=True)
        with np.load(answer) as file:
            return dict(file)


def apart(ours: Array, theirs: Array) -> float:
    """Return the largest difference relative to the lengths of the outputs."""
    lengths = np.sqrt(np.diag(theirs))
    return float(np.abs((ours - theirs) / np.outer(lengths, lengths)).max())


def main() -> None:
    """Compare all networks, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tangents", type=Path, help="a Python with neural-tangents 0.6.5")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="as it is: the networks are small")
    arguments = parser.parse_args()
    data = np.random.default_rng(0).standard_normal((INPUTS, POSITIONS, FEATURES))
    columns = data.reshape(INPUTS * POSITIONS, FEATURES)
    start = columns @ columns.T / FEATURES
    found = peers(arguments.tangents, data) if arguments.tangents else {}
    rows = []
    for name, (branch, wrong) in CASES.items():
        ours = head(name, branch, start)
        row: dict[str, Any] = {"network": name, "kernel": ours}
        if name in found:
            row["largest_difference"] = apart(ours, found[name])
            row["control"] = apart(head(name, wrong, start), found[name])
            print(f"{name}: {row['largest_difference']:.1e}, control {row['control']:.1e}")
        rows.append(row)
    settings = {"inputs": INPUTS, "positions": POSITIONS, "depth": DEPTH, "scale": SCALE}
    settings |= {"peer": "neural-tangents 0.6.5" if found else None}
    write_record(arguments.out, settings=settings, rows=rows)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
