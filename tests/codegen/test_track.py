"""Progress of a long evaluation: parts of the work only grow, up to the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    evaluate,
    kernel,
    one_loop,
    optimal_scale,
)
from resexpand.codegen.threads import in_threads, run_tiles
from resexpand.codegen.track import WHOLE, done, stages, tracked, untracked
from resexpand.errors import HyperparameterError

NET = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.3, depth=4)
TANH = ResNet(Branch(Activation("tanh"), Linear(1, 0)), scale=0.3, depth=4)


def reported(work: Any) -> list[int]:
    """Return what work says that takes `progress=`."""
    calls: list[tuple[int, int]] = []
    work(lambda *call: calls.append(call))
    assert {total for _, total in calls} == {WHOLE}
    return [part for part, _ in calls]


WORK = {
    "one point": (lambda p: evaluate(kernel(NET), K0=1.0, progress=p), 1),
    "pairs": (lambda p: evaluate(kernel(NET, 2), K0=np.eye(5), progress=p), 5),
    "series": (lambda p: evaluate(kernel(TANH, 2), K0=np.eye(5), progress=p), 10),
    "quadratures": (lambda p: evaluate(kernel(TANH), K0=np.ones(99), progress=p), 5),
    "order 1/N": (lambda p: evaluate(one_loop(NET), K0=1.0, progress=p), 1),
    "optimum": (lambda p: evaluate(optimal_scale(NET), K0=1.0, progress=p), 1),
}


@pytest.mark.parametrize("kind", WORK)
def test_work_is_reported_once_and_to_the_end(kind: str) -> None:
    work, least = WORK[kind]
    found = reported(work)
    assert found == sorted(set(found))
    assert found[-1] == WHOLE
    assert len(found) >= least


def test_results_do_not_depend_on_who_looks() -> None:
    given = np.eye(5) * 0.5 + 0.5
    alone = evaluate(kernel(TANH, 2), K0=given)
    watched = evaluate(kernel(TANH, 2), K0=given, progress=lambda *_: None)
    np.testing.assert_array_equal(alone["K"], watched["K"])
    assert alone.quadrature_error == watched.quadrature_error


def test_loops_share_the_work_in_hand() -> None:
    def work(progress: Any) -> None:
        with tracked(progress):
            for _ in stages(2):
                with untracked():
                    run_tiles(lambda *_: None, 1, 1, ())
                for _ in stages(2):
                    run_tiles(lambda *_: None, 1, 1, ())

    assert reported(work) == [250, 500, 750, 1000]


def test_an_error_leaves_nothing_behind() -> None:
    calls: list[Any] = []

    def stop(part: int, total: int) -> None:
        calls.append(part)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(kernel(TANH, 2), K0=np.eye(5), progress=stop)
    done(1, 1)
    evaluate(kernel(NET), K0=1.0)
    assert len(calls) == 1


def test_threads_within_a_task_say_nothing() -> None:
    def nested(k: int) -> int:
        run_tiles(lambda *_: None, 1, 1, ())
        return k

    def work(progress: Any) -> None:
        with tracked(progress):
            assert in_threads(nested, range(4)) == [0, 1, 2, 3]

    assert reported(work) == [250, 500, 750, 1000]


def test_a_short_evaluation_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(kernel(NET), K0=1.0, progress=True)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(HyperparameterError, match="neither a function nor a truth value"):
        evaluate(kernel(NET), K0=1.0, progress="yes")
