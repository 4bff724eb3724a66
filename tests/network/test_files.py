"""Data from files: read as a spreadsheet means them, or refused with the line and the reason."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel
from resexpand.errors import HyperparameterError, KernelError, StoreError
from resexpand.montecarlo.input_kernel import input_kernel
from resexpand.network.files import array_file
from resexpand.network.inputs import kernel_from_inputs

TWO = [[1.0, 2.0], [3.0, 4.0]]
HALVES = [[1.5, 2.5], [3.5, 4.5]]

READ = {
    "plain": ("1,2\n3,4\n", TWO),
    "byte-order mark": ("\ufeff1,2\n3,4\n", TWO),
    "mark before a header": ("\ufeffx,y\n1,2\n3,4\n", TWO),
    "header": ("x,y\n1,2\n3,4\n", TWO),
    "header with umlauts": ("Größe;Höhe\n1;2\n3;4\n", TWO),
    "separator line": ("sep=;\n1;2\n3;4\n", TWO),
    "trailing commas": ("1,2,\n3,4,\n", TWO),
    "trailing semicolons": ("1;2;\n3;4;\n", TWO),
    "quotes": ('"1","2"\n"3","4"\n', TWO),
    "quoted header": ('"x","y"\n1,2\n3,4\n', TWO),
    "other line ends": ("1,2\r\n3,4\r\n", TWO),
    "no last line end": ("1 2\n3 4", TWO),
    "comments": ("# two\n1 2 # first\n\n3 4\n", TWO),
    "spaces around commas": ("1 , 2\n3 ,4\n", TWO),
    "decimal commas": ("1,5;2,5\n3,5;4,5\n", HALVES),
    "decimal commas and tabs": ("1,5\t2,5\n3,5\t4,5\n", HALVES),
    "decimal commas in one line": ("1;2\n3,5;4\n", [[1, 2], [3.5, 4]]),
    "decimal commas and exponents": ("1,5e1;-2,5\n", [[15, -2.5]]),
    "decimal points": ("1.5;2.5\n3.5;4.5\n", HALVES),
    "quotes here and there": ('"1",2\n3,"4"\n', TWO),
    "one column": ("1\n2\n", [[1], [2]]),
    "several separators": ("1, 2, 0, 0\n0; 1 1\t0\n", [[1, 2, 0, 0], [0, 1, 1, 0]]),
}


@pytest.mark.parametrize("kind", READ)
def test_what_a_spreadsheet_writes(tmp_path: Path, kind: str) -> None:
    content, wanted = READ[kind]
    path = tmp_path / "data.csv"
    path.write_text(content, encoding="utf-8")
    found = array_file(path)
    assert found.tolist() == wanted
    assert found.dtype == np.float64


REFUSED = {
    "ragged": ("1,2\n3\n", "line 2 has 1 values, those before have 2"),
    "quoted decimal commas": ('"1,5","2,5"\n', "line 1: a comma within quotation marks"),
    "quoted thousands": ('"1,000.5","2"\n', "line 1: a comma within quotation marks"),
    "quoted millions": ("1,'2,000,000'\n", "line 1: a comma within quotation marks"),
    "truth values": ("True,False\n1,0\n", "line 1: 'True' is not a number"),
    "missing values": ("NA,NA\n1,0\n", "line 1: 'NA' is not a number"),
    "wide digits": ("\uff11,\uff12\n3,4\n", "is not a number"),
    "minus signs": ("\u22121,2\n", "is not a number"),
    "index column": (",a,b\n0,1,2\n", "line 1: '' is not a number"),
    "thousands apart": ("1 234,5;2\n", "is not a number"),
    "word in the data": ("1,2\nx,4\n", "line 2: 'x' is not a number"),
    "word in the first line": ("x,2\n3,4\n", "line 1: 'x' is not a number"),
    "empty field": ("1,,2\n", "line 1: '' is not a number"),
    "two meanings of a comma": ("1,5;2,5\n1,2\n", "line 2: .*what a comma means"),
    "thousands": ("1,234;5.5\n", "line 1: .*what a comma means"),
    "points then commas": ("1.5;2\n1,5;2\n", "line 2: .*what a comma means"),
    "thousands and decimals": ("1.234,5;2\n", "line 1: '1.234,5' is not a number"),
    "commas and spaces": ("1,5 2,5\n", "line 1: commas and spaces"),
    "underscores": ("1_000,2\n", "line 1: '1_000' is not a number"),
    "hexadecimal": ("0x10,2\n", "line 1: '0x10' is not a number"),
    "digits of another script": ("\u0661,2\n", "line 1"),
    "not a number": ("nan,1\n", "row 0, column 0 is not finite"),
    "too large": ("1,2\n3,1e400\n", "row 1, column 1 is not finite"),
    "header alone": ("x,y\n", "shape"),
    "nothing": ("", "shape"),
    "another encoding": ("1,2\n".encode("utf-16"), "utf-8"),
    "binary": (b"\x80\x81", "utf-8"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_with_its_line(tmp_path: Path, kind: str) -> None:
    content, match = REFUSED[kind]
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HyperparameterError, match=match):
        array_file(path)


def npy(array: Any) -> bytes:
    """Return what numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped() -> bytes:
    """Return a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data", "1")
    return file.getvalue()


def test_arrays_that_numpy_saved(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    for kind in (np.float64, np.float32, np.float16, np.uint8, np.int64):
        path.write_bytes(npy(np.array(TWO, dtype=kind)))
        assert array_file(path).tolist() == TWO
    damaged = bytearray(npy(np.array(TWO)))
    damaged[10:20] = b"(((((((((("
    wrong = {
        "zip": zipped(),
        "broken zip": zipped()[:20],
        "archive": b"PK\x03\x04 and nothing",
        "empty": b"",
        "text": b"1,2\n",
        "cut": npy(np.array(TWO))[:-4],
        "header": bytes(damaged),
        "complex": npy(np.array(TWO) * 1j),
        "words": npy(np.array([["a"]])),
        "vector": npy(np.ones(3)),
        "no rows": npy(np.ones((0, 3))),
    }
    for content in wrong.values():
        path.write_bytes(content)
        with pytest.raises(HyperparameterError, match=r"data\.npy"):
            array_file(path)


def test_damaged_headers_are_never_a_traceback(tmp_path: Path) -> None:
    random, path = np.random.default_rng(1), tmp_path / "data.npy"
    whole, refused = npy(np.array(TWO)), 0
    for _ in range(400):
        content = bytearray(whole)
        for place in random.integers(0, 100, size=3):
            content[place] = random.integers(0, 256)
        path.write_bytes(bytes(content))
        try:
            array_file(path)
        except HyperparameterError:
            refused += 1
    assert refused > 200


def test_python_and_the_command_line_read_the_same_files(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x;y\n1,5;2,5\n3,5;4,5\n")
    wanted = kernel_from_inputs(HALVES, (2.0, 0.1))
    for name in (path, str(path)):
        np.testing.assert_array_equal(kernel_from_inputs(name, (2.0, 0.1)), wanted)
        np.testing.assert_array_equal(input_kernel(None, name, (2.0, 0.1)), wanted)
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=1, read_in=Linear(2, 0.1))
    found = evaluate(kernel(net, inputs=2), inputs=path)["K"]
    np.testing.assert_allclose(found[..., 0, :, :], wanted, rtol=1e-15)
    assert np.abs(found[..., 0, :, :] - kernel_from_inputs(TWO, (2.0, 0.1))).max() > 0.1
    with pytest.raises(StoreError, match="No such file"):
        kernel_from_inputs(tmp_path / "missing.csv", (1.0, 0.0))
    with pytest.raises(HyperparameterError, match=r"neither in \.npy nor in \.csv"):
        kernel_from_inputs(tmp_path / "data.txt", (1.0, 0.0))


def test_products_that_overflow_are_an_error_and_no_warning() -> None:
    with pytest.raises(KernelError, match="leaves the range of double precision"):
        kernel_from_inputs([[1e200, 1.0]], (1.0, 0.0))
    np.testing.assert_allclose(kernel_from_inputs([[1e150]], (1.0, 0.0)), [[1e300]])
