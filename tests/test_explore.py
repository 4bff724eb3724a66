"""The page that computes in a browser: its Python without Numba, and its sliders in Chromium.

In Chromium the Python of the page runs here, behind a stand-in for Pyodide that passes calls on:
what is tested are the page and its text, not Pyodide itself.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resexpand import Activation, Branch, Linear, ResNet, evaluate, optimal_scale, response

DOCS = Path(__file__).parent.parent / "docs"
CHROMIUM = shutil.which("chromium")
GIVEN = ("erf_unit", 20, 0.3, 1.0, 0.0, 0.1)

SERVE = """
import json, sys
for name in ("numba", "llvmlite", "scipy", "matplotlib"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
names = {}
exec(open(sys.argv[2]).read(), names)
import resexpand
assert resexpand.__file__.startswith(sys.argv[1])
for line in sys.stdin:
    name, given = json.loads(line)
    print(names[name](*given), flush=True)
"""
STAND_IN = """
export async function loadPyodide() {
  return {
    loadPackage: async () => {}, unpackArchive: () => {}, runPythonAsync: async () => {},
    globals: {get: name => async (...given) => {
      const body = JSON.stringify([name, given]);
      const answer = await fetch(new URL("call", import.meta.url), {method: "POST", body});
      return answer.text();
    }},
  };
}
"""
REPORT = """
<script>
setInterval(() => {
  if (document.getElementById("numbers").textContent.includes("optimal"))
    fetch("shown", {method: "POST", body: document.documentElement.outerHTML});
}, 200);
</script>
"""


@pytest.fixture(scope="module")
def page() -> str:
    text: str = runpy.run_path(str(DOCS / "conf.py"))["explore_page"]()
    return text


def part(page: str, name: str) -> str:
    match = re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def python(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the Python of the page on the source in the page, without Numba."""
    folder = tmp_path_factory.mktemp("page")
    zipfile.ZipFile(io.BytesIO(base64.b64decode(part(page, "source")))).extractall(folder / "zip")
    (folder / "text.py").write_text(part(page, "python"), "utf-8")
    command = [sys.executable, "-c", SERVE, str(folder / "zip"), str(folder / "text.py")]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def called(python: subprocess.Popen[str], text: str) -> str:
    assert python.stdin is not None
    assert python.stdout is not None
    python.stdin.write(text + "\n")
    python.stdin.flush()
    return python.stdout.readline()


def test_the_page_computes_what_the_package_does(python: subprocess.Popen[str]) -> None:
    found = json.loads(called(python, json.dumps(["curves", GIVEN])))
    net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.3, depth=20)
    theory = evaluate(response(net), K0=0.1)
    assert found["K"] == pytest.approx(theory["K"], rel=1e-12)
    assert found["eta"] == pytest.approx(float(theory["eta"]), rel=1e-12)
    assert found["status"] == ""
    best = json.loads(called(python, json.dumps(["optimum", (GIVEN[0], 20, 1.0, 0.0, 0.1)])))
    expected = evaluate(optimal_scale(net), K0=0.1)
    assert best["rho"] == pytest.approx(float(expected["rho"]), rel=1e-10)
    assert 0.99 < max(found["along"]) / best["eta"] <= 1
    none = json.loads(called(python, json.dumps(["optimum", ("relu", 20, 1.0, 0.0, 0.1)])))
    assert "without bound" in none["status"]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_in_a_browser(page: str, python: subprocess.Popen[str], tmp_path: Path) -> None:
    shown: list[str] = []
    seen = threading.Event()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, body: str, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            is_page = self.path.startswith("/explore.html")
            self.answer(
                *((page + REPORT, "text/html") if is_page else (STAND_IN, "text/javascript"))
            )

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.path == "/shown":
                shown.append(text)
                seen.set()
                return self.answer("", "text/plain")
            with lock:
                self.answer(called(python, text), "application/json")
            return None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += [f"--user-data-dir={tmp_path}", "--remote-debugging-port=0"]
    url = f"{address}/explore.html?pyodide={address}/"
    with subprocess.Popen([str(CHROMIUM), *flags, url], stderr=subprocess.DEVNULL) as browser:
        assert seen.wait(120)
        browser.terminate()
    server.shutdown()
    server.server_close()
    text = html.unescape(shown[0])
    table = dict(re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td></tr>", text))
    assert table["response η"] == "1.206"
    assert table["c of ρ* ≈ c/√L"] == "1.338"
    assert len(re.findall(r"<polyline[^>]* points=\"[0-9]", text)) == 2
    assert ">optimal<" in text
