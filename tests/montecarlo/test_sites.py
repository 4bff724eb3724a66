"""An observable that reads a site which does not exist is told which do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, Observable, ResNet, sample
from resexpand.errors import HyperparameterError, WorkerError

NET = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.5, depth=3)


def run(sites: Any, key: str) -> Any:
    """Sample an observable that declares some sites and reads one."""
    own = Observable("own", lambda record: record.sites[key][:, :, 0, 0], sites, inputs=1)
    return sample(NET, [own, "kernel"], width=8, draws=4, K0=1.0, workers=1)


@pytest.mark.parametrize("key", ["states", "stats"])
def test_a_misspelt_site_is_named_before_anything_is_drawn(key: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        run(("stats",), key)
    message = str(caught.value)
    assert "site 'stats' of the observable own" in message
    assert "did you mean 'states'" in message
    assert "states, features, read_outs, outputs" in message


def test_sites_of_columns_that_nobody_asked_for_do_not_exist() -> None:
    with pytest.raises(HyperparameterError, match=r"'gradients'.*sites are states, features"):
        run(("gradients",), "gradients")
    with pytest.raises(HyperparameterError, match=r"write \('states',\)"):
        run("states", "states")


def test_a_site_read_but_not_declared_is_named() -> None:
    with pytest.raises(WorkerError, match=r"'stats'.*did you mean 'states'.*the sites are"):
        run(("states",), "stats")
    with pytest.raises(WorkerError, match=r"'features': no observable asks.*Observable\(sites=\)"):
        run(("states",), "features")


def test_control_a_right_site_is_read() -> None:
    found = run(("states",), "states")
    np.testing.assert_array_equal(found["own"].mean, found["kernel"].mean)
