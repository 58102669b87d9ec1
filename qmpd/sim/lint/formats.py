"""Findings for programs: JSON, and SARIF for those that show them beside a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from qmpd.sim.lint.finding import KINDS, Finding, Kind
from qmpd.version import __version__

LEVELS: Final[Mapping[Kind, str]] = {
    "refused": "error",
    "lacking": "error",
    "ignored": "warning",
    "wait": "warning",
    "deprecated": "warning",
    "otherwise": "note",
    "error": "note",
}
"""How grave SARIF takes each kind for."""

Location = tuple[str, int]
"""A file, and a line of it."""


def as_json(findings: Iterable[Mapping[str, Any]]) -> str:
    """Findings, each by its members, as a JSON list of objects."""
    return json.dumps(list(findings), indent=2) + "\n"


def as_sarif(located: Iterable[tuple[Finding, Location]]) -> str:
    """Findings as a SARIF 2.1.0 log.

    :param located: each with where it is
    """
    rules = [{"id": kind, "shortDescription": {"text": text}} for kind, (_, text) in KINDS.items()]
    driver = {"name": "qmpd lint", "version": __version__, "rules": rules}
    results = [_result(finding, location) for finding, location in located]
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(log, indent=2) + "\n"


def _result(finding: Finding, location: Location) -> dict[str, Any]:
    file, line = location
    place = {
        "artifactLocation": {"uri": file},
        "region": {"startLine": line},
    }
    return {
        "ruleId": finding.kind,
        "ruleIndex": list(KINDS).index(finding.kind),
        "level": LEVELS[finding.kind],
        "message": {"text": finding.text},
        "locations": [{"physicalLocation": place}],
    }
