"""What management programs ask before they start a machine, of each version and of qmpd as it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from qmpd.profile.recorded.coding import as_inserted
from tests.support.normal import normal
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, both_argv

ARGV: Final = ["qemu-system-x86_64", "-machine", "none", "-accel", "tcg", "-display", "none"]
DAEMON: Final = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "c"]

QUERIES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("query-version", {}),
    ("query-target", {}),
    ("query-kvm", {}),
    ("query-machines", {}),
    ("query-command-line-options", {}),
    ("query-command-line-options", {"option": "drive"}),
    ("qom-list-types", {}),
    ("qom-list-types", {"abstract": True}),
    ("qom-list-types", {"implements": "user-creatable"}),
    ("qom-list-types", {"implements": "device", "abstract": True}),
    ("trace-event-get-state", {"name": "*"}),
    ("query-tpm-models", {}),
    ("query-tpm-types", {}),
    ("query-stats-schemas", {}),
    ("query-sev", {}),
)
MODELS: Final = ("qemu64", "486", "max", "EPYC", "Haswell-noTSX", "Icelake-Server", "nosuch")


class Asked:
    """The programs of one version, and what both answer."""

    def __init__(self, version: str, argv: list[str], tmp: Any) -> None:
        self._programs = [StdioProgram(words, tmp) for words in both_argv(version, argv)]
        for program in self._programs:
            program.message()
            program.execute({"execute": "qmp_capabilities"})

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask both; fails unless both answer the same. Returns the value, None for an error."""
        request = {"execute": command, "arguments": arguments}
        real, ours = (as_inserted(p.execute(request)[-1]) for p in self._programs)
        assert normal(ours) == normal(real), request
        return real.get("return")

    def close(self) -> None:
        for program in self._programs:
            program.close()


@pytest.fixture(scope="module", params=MEASURED)
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    asked = Asked(
        request.param,
        [*ARGV, "-nodefaults", "-S", "-qmp", "stdio"],
        tmp_path_factory.mktemp("asked"),
    )
    yield asked
    asked.close()


@pytest.mark.parametrize(("command", "arguments"), QUERIES, ids=str)
def test_queries(asked: Asked, command: str, arguments: dict[str, Any]) -> None:
    asked.ask(command, **arguments)


def test_cpu_definitions(asked: Asked) -> None:
    asked.ask("query-cpu-definitions")


@pytest.mark.parametrize("model", MODELS)
def test_cpu_models(asked: Asked, model: str) -> None:
    for kind in ("static", "full"):
        asked.ask("query-cpu-model-expansion", type=kind, model={"name": model})


def test_properties(asked: Asked) -> None:
    types = [info["name"] for info in asked.ask("qom-list-types", abstract=True)]
    for name in [*types[:: len(types) // 40], "virtio-blk-pci", "memory-backend-file", "nosuch"]:
        asked.ask("device-list-properties", typename=name)
        asked.ask("qom-list-properties", typename=name)
