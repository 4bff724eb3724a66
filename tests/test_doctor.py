"""The page about a machine: it stands when libraries are broken, and it does not flatter."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resexpand import doctor
from resexpand.cli import main
from resexpand.codegen.cuda import device
from resexpand.codegen.cuda.device import Device, Machine
from resexpand.errors import DeviceError, HyperparameterError, ResexpandError
from resexpand.workflows.doctor import examine, probes
from resexpand.workflows.doctor.page import Examination, Finding, TargetHealth

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def page() -> Examination:
    """Return the examination of this machine."""
    return doctor()


def found(health: TargetHealth) -> dict[str, Finding]:
    return {f.name: f for f in health.findings}


def test_the_cpu_works_and_everything_was_tried(page):
    assert page.cpu.works, page
    assert [f.name for f in page.cpu.findings] == list(examine.CPU)
    facts = found(page.cpu)
    assert facts["routine"].facts["relative_error"] < 1e-14
    assert abs(facts["sampler"].facts["z"]) < 6
    assert facts["sampler"].facts["networks"] == 256
    assert page.machine["libraries"]["numba"]


def test_the_page_has_every_finding_and_fits(page):
    text = str(page)
    for health in (page.cpu, page.cuda):
        assert f"{health.name} {health.verdict}" in text
        assert all(f.text in text for f in health.findings)
        assert all(remedy in text for remedy in health.remedies)
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 24


def test_the_gpu_works_or_a_reason_and_a_remedy_are_given(page):
    facts = found(page.cuda)
    assert list(facts) == list(examine.CUDA)
    if page.cuda.works:
        assert facts["device sampler"].facts["relative_difference"] < 1e-9
        return
    broken = next(f for f in page.cuda.findings if f.state == "failed")
    assert page.cuda.verdict == f"does not work here: {broken.name}"
    assert broken.text
    assert page.cuda.remedies


def test_the_record_is_strict_json_and_says_the_same(page, monkeypatch, capsys):
    monkeypatch.setattr("resexpand.workflows.doctor.examine.doctor", lambda target: page)
    assert main(["doctor", "--json"]) == (0 if page.works else 1)
    record = json.loads(capsys.readouterr().out)
    assert record["schema"]["name"] == "resexpand-record"
    assert record["works"] is page.works
    assert list(record["targets"]) == ["cpu", "cuda"]
    assert record["targets"]["cpu"]["findings"]["routine"]["state"] == "ok"
    assert main(["doctor"]) == (0 if page.works else 1)
    assert capsys.readouterr().out == f"{page}\n"


def health(name: str, *states: str) -> TargetHealth:
    names = examine.CPU if name == "cpu" else examine.CUDA
    findings = tuple(Finding(n, s, s) for n, s in zip(names, states, strict=False))
    return TargetHealth(name, all(s == "ok" for s in states), findings)


@pytest.mark.parametrize(
    ("asked", "cpu", "cuda", "works"),
    [
        ("auto", ["ok"], ["failed", "not tried"], True),
        ("auto", ["failed"], ["ok", "ok"], False),
        ("cpu", ["ok"], ["failed"], True),
        ("cuda", ["ok"], ["failed"], False),
        ("cuda", ["failed"], ["ok", "ok"], True),
    ],
)
def test_the_exit_code_is_about_what_was_asked(asked, cpu, cuda, works, monkeypatch, capsys):
    page = Examination(asked, examine._machine(), health("cpu", *cpu), health("cuda", *cuda))
    assert page.works is works
    monkeypatch.setattr("resexpand.workflows.doctor.examine.doctor", lambda target: page)
    assert main(["doctor", "--target", asked]) == (0 if works else 1)
    assert str(page) in capsys.readouterr().out


def test_a_device_that_cannot_be_used_is_not_passed_over():
    """With ``auto`` a GPU is asked for where there is one."""
    findings = (Finding("devices", "ok", "one"), Finding("toolkit", "failed", "too old"))
    page = Examination("auto", {}, health("cpu", "ok"), TargetHealth("cuda", False, findings))
    assert not page.works


def test_there_is_no_other_target():
    with pytest.raises(HyperparameterError, match="'tpu': there is none of that name"):
        doctor("tpu")
    with pytest.raises(SystemExit):
        main(["doctor", "--target", "tpu"])


def broken(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Put modules of these texts before all others, for other processes."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    rest = filter(None, [os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *rest]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ImportError('no llvm here', name='llvmlite.binding')", "no llvm here"),
        ("raise RuntimeError('of another kind')", "RuntimeError: of another kind"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
        ("import os; os._exit(7)", "ended with code 7"),
        ("import os; os.write(1, b'{\"name\": 1}\\n'); raise SystemExit('end')", "end"),
        ("import time; time.sleep(600)", "no answer in 2 s"),
        ("njit = lambda f: lambda x: 9.0", "returned 9.0, not 10.0"),
    ],
    ids=["import", "raise", "crash", "exit", "noise", "hang", "wrong"],
)
def test_a_broken_library_is_a_line_on_the_page(text, said, tmp_path, monkeypatch):
    monkeypatch.setattr(examine, "SECONDS", 2)
    broken(tmp_path, monkeypatch, numba=text)
    folder, compiler, routine, sampler = examine._probe(examine.CPU)
    assert folder.state == "ok"
    assert compiler.state == "failed"
    assert said in compiler.text
    assert {routine.state, sampler.state} == {"not tried"}
    assert routine.text == "not tried without: compiler"
    if "llvmlite" in text:
        assert compiler.remedy == "pip install --force-reinstall llvmlite"


def test_the_command_stands_without_its_libraries(tmp_path):
    """With NumPy, SymPy and Numba broken there is a page, an exit code, and no traceback."""
    for name in ("numpy", "sympy", "numba", "numba_cuda", "platformdirs"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is broken')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    environment.pop("RESEXPAND_CACHE", None)  # else nobody is asked for the folder
    command = [sys.executable, "-m", "resexpand", "doctor", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (run.returncode, run.stderr) == (1, "")
    findings = json.loads(run.stdout)["targets"]["cpu"]["findings"]
    assert findings["folder"]["text"] == "ImportError: platformdirs is broken"
    assert findings["compiler"]["text"] == "ImportError: numba is broken"


def test_a_name_that_no_terminal_can_show(monkeypatch, capsys):
    """A path of bytes that are no text arrives with lone surrogates."""
    finding = Finding("folder", "ok", "\udcff here", facts={"path": "\udcff"})
    page = Examination(
        "cpu", examine._machine(), TargetHealth("cpu", True, (finding,)), health("cuda")
    )
    monkeypatch.setattr("resexpand.workflows.doctor.examine.doctor", lambda target: page)
    assert main(["doctor"]) == 0
    assert r"ok  folder            \udcff here" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["targets"]["cpu"]["findings"]["folder"]["facts"]["path"] == "\udcff"


def test_a_folder_that_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESEXPAND_CACHE", str(tmp_path / "file" / "folder"))
    with pytest.raises(ResexpandError, match="cannot be kept") as caught:
        probes.folder()
    assert "RESEXPAND_CACHE" in caught.value.remedy


INSTALL = "pip install 'resexpand[cuda]'"


@pytest.mark.parametrize(
    ("served", "remedy"),
    [
        (None, INSTALL),
        ((13, 0), INSTALL),
        ((12, 4), "pip install 'numba-cuda[cu12]' 'cuda-toolkit[nvcc]==12.*'"),
        # There is no numba-cuda for what came before.
        ((11, 4), f"{device.UPDATE}, then {INSTALL}"),
    ],
)
def test_without_the_extra_the_line_to_install_is_given(served, remedy, monkeypatch):
    monkeypatch.setattr(device, "machine", lambda: Machine(driver=served))
    with pytest.raises(DeviceError, match="numba-cuda and what it needs are not") as caught:
        probes.package()
    assert caught.value.remedy == remedy


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"driver": (12, 4)}, "serves CUDA 12.4, the toolkit is 13.5"),
        ({"toolkit": (11, 8)}, "is older than 12.0"),
        ({"devices": (Device("Next", (99, 0), 1),)}, "too old for the Next"),
        ({"toolkit": None, "missing": "no library"}, r"cannot be loaded \(no library\)"),
    ],
)
def test_the_toolkit_must_suit_driver_and_device(what, why, monkeypatch):
    good = Machine("0.30", (13, 5), (12, 1))
    assert device.obstacle(good, ("toolkit",)) is None
    monkeypatch.setattr(device, "machine", lambda: replace(good, **what))
    with pytest.raises(DeviceError, match=why) as caught:
        probes.toolkit()
    assert "pip install" in caught.value.remedy


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)
def test_the_toolkit_is_tried_without_a_device():
    # In another process, for what is loaded here would be kept by every test that follows.
    command = [sys.executable, "-m", "resexpand.workflows.doctor.probes", "toolkit"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(run.stdout)
    assert found["state"] == "ok", found
    assert "a kernel compiled for compute capability" in found["text"]


class Library:
    """A driver as `ctypes` shows it: writes through pointers, returns error codes."""

    def __init__(self, cuda: int = 13000, names: tuple[str, ...] = (), code: int = 0) -> None:
        self._cuda, self._names, self._code = cuda, names, code

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked")

    @staticmethod
    def _write(pointer: Any, value: int) -> None:
        pointer._obj.value = value

    def cuGetErrorName(self, code: int, pointer: Any) -> int:
        names = {100: b"CUDA_ERROR_NO_DEVICE", 999: b"CUDA_ERROR_UNKNOWN"}
        pointer._obj.value = names[code]
        return 0

    def cuDriverGetVersion(self, pointer: Any) -> int:
        self._write(pointer, self._cuda)
        return 0

    def cuInit(self, flags: int) -> int:
        return self._code

    def cuDeviceGetCount(self, pointer: Any) -> int:
        self._write(pointer, len(self._names))
        return 0

    def cuDeviceGet(self, pointer: Any, index: int) -> int:
        self._write(pointer, index + 40)
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, handle: Any) -> int:
        buffer.value = self._names[handle - 40].encode()
        return 0

    def cuDeviceGetAttribute(self, pointer: Any, which: int, handle: Any) -> int:
        self._write(pointer, {75: 9, 76: 0}[which])
        return 0

    def cuDeviceTotalMem_v2(self, pointer: Any, handle: Any) -> int:
        self._write(pointer, 80 * 2**30)
        return 0


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Install a driver."""

    def install(**how: Any) -> None:
        fields = {name: getattr(ctypes, name) for name in dir(ctypes) if not name.startswith("_")}
        known = SimpleNamespace(**{**fields, "CDLL": lambda name: Library(**how)})
        monkeypatch.setattr(device, "ctypes", known)
        monkeypatch.setattr(device, "DRIVER", "libcuda.so.1")
        monkeypatch.setattr(device, "_looked_up", device._looked_up.__wrapped__)
        monkeypatch.setattr(device, "_package", lambda: None)

    return install


def test_devices_are_listed(installed):
    installed(names=("First", "Second"))
    assert probes.driver() == ("CUDA 13.0", {"cuda": "13.0"})
    text, facts = probes.devices()
    assert text == "First, sm_90, 80 GiB; Second, sm_90, 80 GiB"
    assert facts["devices"][1]["memory"] == 80 * 2**30
    assert json.loads(json.dumps(facts))["devices"][0]["capability"] == [9, 0]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"code": 100}, r"the CUDA driver finds no device \(CUDA_ERROR_NO_DEVICE\)"),
        ({"names": ()}, "the CUDA driver finds no device$"),
        ({"code": 999}, r"the CUDA driver finds no device \(CUDA_ERROR_UNKNOWN\)"),
    ],
)
def test_a_driver_that_is_no_use(installed, how, why):
    installed(**how)
    with pytest.raises(DeviceError) as caught:
        probes.devices()
    assert re.search(why, caught.value.why)
    assert "CUDA_VISIBLE_DEVICES" in caught.value.remedy
    assert "nvidia-smi" in caught.value.remedy


@pytest.mark.parametrize("name", ["no-such-library.so", ""])
def test_no_driver(monkeypatch, installed, name):
    installed()
    monkeypatch.setattr(device, "ctypes", ctypes)
    monkeypatch.setattr(device, "DRIVER", name)
    with pytest.raises(DeviceError, match="no NVIDIA driver") as caught:
        probes.driver()
    assert "580 or later" in caught.value.remedy


def test_control_wrong_numbers_are_no_health(monkeypatch):
    monkeypatch.setattr(probes, "EXACT", -1.0)
    with pytest.raises(ResexpandError, match="is off by"):
        probes.routine("cpu")
    monkeypatch.setattr(probes, "SURPRISE", 0.0)
    with pytest.raises(ResexpandError, match="standard errors from the exact kernel"):
        probes.sampler()
    estimates = {"cpu": [1.0, 2.0], "cuda": [1.0, 2.0 + 1e-8]}
    monkeypatch.setattr(probes, "_estimate", lambda t: SimpleNamespace(mean=estimates[t]))
    with pytest.raises(ResexpandError, match=r"networks of one seed differ .* by 5\.0e-09"):
        probes.device_sampler()


def test_every_probe_is_asked_somewhere():
    asked = examine.CPU + examine.CUDA
    assert set(asked) == set(probes.PROBES)
    assert set(examine.NEEDS) <= set(asked)
    # What is needed stands before what needs it, on the same target.
    for name, needed in examine.NEEDS.items():
        names = examine.CPU if name in examine.CPU else examine.CUDA
        assert all(names.index(n) < names.index(name) for n in needed)
