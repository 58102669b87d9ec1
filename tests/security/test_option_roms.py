"""Option ROMs of devices: which files of the host they may be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.programs import QMPD_SYSTEM
from tests.support.stdio import StdioProgram

BOARD = ("-machine", "pc", "-S", "-nodefaults", "-display", "none", "-qmp", "stdio")


def _answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], **environment: str
) -> list[str]:
    """What is said of devices with these ROMs: the text of an error, or ``ok``."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    program = StdioProgram([*QMPD_SYSTEM, *BOARD], folder)
    try:
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        answers = []
        for name in names:
            arguments = {"driver": "virtio-rng-pci", "romfile": name}
            answer = program.execute({"execute": "device_add", "arguments": arguments})[-1]
            answers.append(str(answer.get("error", {"desc": "ok"})["desc"]))
        return answers
    finally:
        program.close()


@pytest.fixture
def names(tmp_path: Path) -> list[str]:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rom").write_bytes(bytes(512))
    os.mkfifo(tmp_path / "in" / "fifo")
    paths = [str(tmp_path / name) for name in ("in/rom", "out/rom", "in/fifo")]
    return [*paths, "efi-virtio.rom", "a\0b"]


def _missing(name: str) -> str:
    return f'failed to find romfile "{name}"'


def test_memory_reads_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    answers = _answers(tmp_path, monkeypatch, names, QMPD_STORAGE="memory")
    missing = [_missing(name) for name in names]
    assert answers == [*missing[:3], "ok", missing[4]]  # that one comes with QEMU


def test_overlay_reads_what_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    environment = {"QMPD_STORAGE": "overlay", "QMPD_ALLOW_READ": str(tmp_path / "in")}
    answers = _answers(tmp_path, monkeypatch, names, **environment)
    assert answers == ["ok", _missing(names[1]), _missing(names[2]), "ok", _missing(names[4])]


def test_host_waits_for_no_fifo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    answers = _answers(tmp_path, monkeypatch, names, QMPD_STORAGE="host")
    assert answers == ["ok", "ok", _missing(names[2]), "ok", _missing(names[4])]
