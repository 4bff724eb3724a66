"""PyTorch draws and multiplies the same dense layers, in a process of its own, timed on request.

    python gpu_torch.py WIDTH float32|float64

This file imports nothing of `resexpand`. Weights are drawn with ``randn`` into an array that exists
and multiplied with the state, ``h <- h + rho W relu(h) / sqrt(N)``; ten such layers are captured in
a CUDA graph and replayed, so launching costs next to nothing. How many networks go side by side is
PyTorch's best choice of several. Each line on the standard input asks for one timing by events; the
answer is a line of JSON, the first with the version and the batch that was chosen.
"""

from __future__ import annotations

import json
import os
import sys

LAYERS, RHO, REPLAYS, LARGEST = 10, 0.3, 20, 2**28


def captured(torch, width, batch, kind):
    """Return a graph of ten layers of some networks side by side."""
    weights = torch.empty(batch, width, width, dtype=kind, device="cuda")
    h = torch.randn(batch, width, 1, dtype=kind, device="cuda")

    def layers():
        for _ in range(LAYERS):
            weights.normal_()
            h.baddbmm_(weights, torch.relu(h), alpha=RHO / width**0.5)

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            layers()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        layers()
    return graph, h


def seconds(torch, graph, h):
    """Return the seconds of one replay."""
    h.normal_()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(REPLAYS):
        graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000.0 / REPLAYS


def main():
    """Choose the batch, then answer every line with the normals per second of one timing."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    width, kind = int(sys.argv[1]), sys.argv[2]
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no device")
    kind = getattr(torch, kind)

    def rate(batch, graph, h):
        return LAYERS * batch * width**2 / seconds(torch, graph, h)

    best = (0.0, 0, None, None)
    for batch in (1, 4, 16, 64, 256):
        if batch * width**2 <= LARGEST:
            graph, h = captured(torch, width, batch, kind)
            rate(batch, graph, h)
            best = max(best, (rate(batch, graph, h), batch, graph, h), key=lambda found: found[0])
    _, batch, graph, h = best
    answers.write(json.dumps({"torch": torch.__version__, "batch": batch}) + "\n")
    answers.flush()
    for _ in sys.stdin:
        answers.write(json.dumps(rate(batch, graph, h)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
