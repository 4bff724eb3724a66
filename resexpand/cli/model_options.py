"""The arguments of ``profile``."""

from __future__ import annotations

from typing import Any


def add_profile(commands: Any, command: Any) -> None:
    """Add ``profile``; `command` is that of the parser."""
    parser = command(
        commands,
        "profile",
        "model_command",
        "What each residual block of a PyTorch model contributes, token by token.",
        network=False,
    )
    parser.description = (
        f"{parser.description} The file with the model is run as the Python program it is."
    )
    parser.add_argument(
        "model",
        metavar="MODEL.py:FACTORY",
        help="a Python file and what in it is the model, or a function without arguments that "
        "returns it",
    )
    parser.add_argument(
        "--batch",
        metavar="FILE",
        required=True,
        help=".npy with the input of a call, or .npz with its keywords: input_ids, attention_mask",
    )
    parser.add_argument(
        "--train", action="store_true", help="profile in training mode (default: evaluation)"
    )
    parser.add_argument(
        "--blocks",
        metavar="NAMES",
        help="modules that are taken as blocks, 'layers.0,layers.1' (default: found)",
    )
    parser.add_argument(
        "--per", choices=("token", "sample"), default="token", help="(default: token)"
    )
    parser.add_argument(
        "--describe",
        action="store_true",
        help="also describe the model, and predict its ratios at initialisation",
    )
    parser.add_argument(
        "--seed", metavar="S", default="0", help="of the model's own noise in training (default 0)"
    )
    parser.add_argument(
        "--save", metavar="FILE", help="keep the profile: .npz (everything) or .csv"
    )
    parser.add_argument(
        "--out", metavar="STEM", help="draw the ratios over the blocks to STEM.pdf and STEM.png"
    )
