"""The README's tour, every block of it, run in order as a new user would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _blocks() -> list[tuple[str, str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _script(folder: Path) -> str:
    """The tour as one shell script; the tests' own environment stands for the venv."""
    lines = ["set -eu"]
    for number, (language, body) in enumerate(_blocks()):
        if language == "python":
            (folder / f"block{number}.py").write_text(body, encoding="utf-8")
            lines.append(f"venv/bin/python block{number}.py")
            continue
        for line in body.splitlines():
            if line.startswith(("python3 -m venv", "venv/bin/pip")):
                continue
            lines.append(line)
            if line.endswith("&") and "serve" in line:
                lines.append("trap 'kill $! 2>/dev/null || true' EXIT")
                lines.append("while ! [ -S qmp.sock ]; do sleep 0.02; done")
    return "\n".join(lines) + "\n"


def test_every_block_of_the_tour_runs(tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "schema", tmp_path / "schema")
    process = subprocess.Popen(
        ["sh", "-c", _script(tmp_path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    for expected in (
        "[(1048576, 16777216)]",
        "null None",
        "qmp-shell /",
        "blockdev-set-active: refused by 7.2 to 9.2: The command blockdev-set-active",
        "null No space left on device\npwrite\nnull None\n3\n",
        "131072",
        "Dirty bitmap 'nope' not found",
        "backup1 0",
        "backup0 0",
    ):
        assert expected in output, output
    assert '{"return": []}' in output
    assert "block-dirty-bitmap-add" in output


def test_the_two_commands_are_in_the_makefile() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    make (\w+)", text, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert commands == ["run", "test"]
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE)


@pytest.mark.skipif(
    "QMPD_TEST_WHEEL" not in os.environ,
    reason="installs a wheel and its dependencies anew; set QMPD_TEST_WHEEL=1 (CI does)",
)
def test_the_wheel_serves_a_session_outside_the_checkout(tmp_path: Path) -> None:
    def run(*argv: str, stdin: bytes = b"") -> bytes:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        result = subprocess.run(
            argv, input=stdin, cwd=tmp_path, capture_output=True, env=environment, timeout=300
        )
        assert result.returncode == 0, result.stderr.decode()
        return result.stdout

    python = str(tmp_path / "venv" / "bin" / "python")
    run(sys.executable, "-m", "venv", "venv")
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("qmpd-*.whl")
    run(python, "-m", "pip", "install", "--quiet", str(wheel))
    requests = b'{"execute": "qmp_capabilities"}{"execute": "query-qmp-schema"}{"execute": "quit"}'
    daemon = str(tmp_path / "venv" / "bin" / "qmpd-storage-daemon")
    output = run(daemon, "--chardev", "stdio,id=m", "--monitor", "m", stdin=requests)
    assert output.count(b"\n") == 4
    assert b"block-dirty-bitmap-merge" in output
    qmpd = str(tmp_path / "venv" / "bin" / "qmpd")
    assert b"block-dirty-bitmap-merge" in run(qmpd, "schema", "show", "block-dirty-bitmap-merge")
