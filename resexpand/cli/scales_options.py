"""The arguments of ``scales``."""

from __future__ import annotations

from typing import Any


def add_scales(commands: Any, command: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "scales",
        "scales_command",
        "Residual scales of the literature at one or more depths, with what each leads to.",
    )
    parser.add_argument(
        "--candidates", metavar="LIST", help="keys of the candidates, a,b,c (default: all)"
    )
    parser.add_argument(
        "--kind",
        choices=("variance", "covariance", "tangent"),
        help="response of the table (default: variance; tangent where a norm forgets the variance)",
    )
    parser.add_argument(
        "--order", metavar="K", default="3", help="first order that counts as high (default 3)"
    )
    parser.add_argument(
        "--share",
        metavar="S",
        default="0.01",
        help="part that high orders may carry, for the candidate path_orders (default 0.01)",
    )
    parser.add_argument(
        "--base-depth",
        metavar="L",
        help="depth at which training was tuned, for depth_mup and complete_p (default: smallest)",
    )
    parser.add_argument("--out", metavar="STEM", help="draw the table to STEM.pdf and STEM.png")
