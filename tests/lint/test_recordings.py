"""Real clients: what is found in what they have said to the real QEMU 10.0.2.

``recordings`` are made by `tests.lint.record`, ``findings`` by ``python -m
tests.lint.test_recordings``: what ``qmpd lint`` prints, without what rests on a rule of qmpd's
(`qmpd.profile.rules`), so that a rule that is added is no difference.  Each line was looked at; the
verdicts on versions are compared with the real programs in `tests.lint.test_same_as_qemu`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from qmpd.cli.sessions import read_file
from qmpd.sim.lint import Finding, lint
from qmpd.sim.lint.session import session_of_recording

FOLDER = Path(__file__).parent
RECORDINGS = sorted((FOLDER / "recordings").glob("*.jsonl"))


@cache
def findings(path: Path) -> list[Finding]:
    """What is found in a recording."""
    return lint(session_of_recording(read_file(str(path))))


def _is_of_rule(finding: Finding) -> bool:
    return finding.source is not None and finding.source.startswith("rule ")


def text_of(path: Path) -> str:
    """What is kept of the findings."""
    return "".join(f"line {each}\n" for each in findings(path) if not _is_of_rule(each))


def _kept(path: Path) -> Path:
    return FOLDER / "findings" / f"{path.stem}.txt"


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_what_is_found(path: Path) -> None:
    assert text_of(path) == _kept(path).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_programs_overlook_nothing(path: Path) -> None:
    """No false alarm: what people have typed is another matter."""
    told = {each.rule for each in findings(path) if each.kind in ("ignored", "wait", "error")}
    assert told == (
        {None, "not-made", "job-too-early", "job-at-work"} if "shell" in path.stem else set()
    )


@pytest.mark.parametrize(
    ("client", "rule"),
    [
        ("libvirt", "rule bitmap-status"),
        ("libvirt", "rule encryption-key"),
        ("qmpbackup", "rule singlestep"),
        ("qmpbackup", "rule bitmaps-of-a-device"),
        ("qmp-shell", "rule no-such-node"),
    ],
)
def test_rules_that_concern_them(client: str, rule: str) -> None:
    told = findings(FOLDER / "recordings" / f"{client}.jsonl")
    assert any(each.source is not None and each.source.startswith(rule) for each in told)


if __name__ == "__main__":
    for recording in RECORDINGS:
        _kept(recording).write_text(text_of(recording), encoding="utf-8")
