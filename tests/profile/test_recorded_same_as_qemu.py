"""What was recorded from a real QEMU is what it answers today, and what qmpd makes of it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from qmpd.cli.record_machine import main as record_machine
from qmpd.profile.personality import Personality
from qmpd.profile.recorded.coding import as_inserted
from qmpd.profile.recorded.store import path_of
from qmpd.profile.shipped import DEFAULT, directory
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

PROCESSOR = "/machine/unattached/device[{}]"
WORDS = ("feature-words", "filtered-features")
COMPUTERS = {
    "pc": (["pc"], 0),
    "old, other model": (["pc-i440fx-7.2", "-cpu", "Haswell"], 0),
    "flags": (["pc", "-cpu", "qemu64,+avx2,-sse3,hv-relaxed=on,phys-bits=42"], 0),
    "sockets": (["q35", "-smp", "4,sockets=2,cores=2", "-cpu", "EPYC", "-m", "300M"], 4),
    "missing features": (["pc,acpi=off", "-smp", "2", "-cpu", "Haswell,+rdseed,+pcid,-avx"], 2),
    "threads": (["pc-i440fx-2.8", "-smp", "2,maxcpus=8,threads=2"], 2),
}
QUERIES = (
    "query-hotpluggable-cpus",
    "query-memdev",
    "query-memory-size-summary",
    "query-memory-devices",
    "query-current-machine",
    "query-mice",
    "query-tpm",
    "query-vnc",
    "query-vnc-servers",
    "query-spice",
    "query-display-options",
    "query-stats-schemas",
    "query-dirty-rate",
    "query-vcpu-dirty-limit",
    "query-sev",
    "query-sev-capabilities",
    "query-sgx",
    "query-sgx-capabilities",
    "query-balloon",
    "query-hv-balloon-status-report",
    "query-vm-generation-id",
    "system_wakeup",
    "inject-nmi",
)


def _table(place: str, personality: Personality, name: str) -> dict[str, Any]:
    text = zlib.decompress(Path(path_of(place, personality, name)).read_bytes(), 31)
    table: dict[str, Any] = json.loads(text)
    if name == "cpus":
        # what KVM would give a guest here
        for kind in ("full", "static"):
            table[kind]["models"].pop("host")
        table["asked"] = [one for one in table["asked"] if one["model"]["name"] != "host"]
        table["definitions"] = [one for one in table["definitions"] if one["name"] != "host"]
    return table


def test_recording_anew_gives_the_same(tmp_path: Path) -> None:
    words = ["--quick", "--storage-daemon", "qemu-storage-daemon", "--output", str(tmp_path)]
    assert record_machine(words) == 0
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.gz"))
    assert len(made) == 13
    often = [Path(place, "device-properties.json") for place in (tmp_path, directory(DEFAULT))]
    assert often[0].read_text() == often[1].read_text()
    for path in made:
        personality, name = Personality(path.parts[1]), path.name.split(".")[0]
        found = [_table(place, personality, name) for place in (str(tmp_path), directory(DEFAULT))]
        assert found[0] == found[1], path


def test_a_program_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert record_machine(["--emulator", "/nowhere", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "qmpd record-machine: no program '/nowhere'\n"


def _ask(argv: list[str], cwd: Path, number: int) -> list[tuple[str, Any]]:
    program = StdioProgram(argv, cwd)
    program.message()

    def ask(command: str, **arguments: Any) -> Any:
        answer = program.execute({"execute": command, "arguments": arguments})[-1]
        answer.pop("timestamp", None)
        return answer.get("return", answer.get("error"))

    ask("qmp_capabilities")
    path = PROCESSOR.format(number)
    said = [(name, ask(name)) for name in QUERIES]
    said.append(("objects", ask("qom-list", path="/objects")))
    cpus = ask("query-cpus-fast")
    said.append(("cpus", [{**cpu, "thread-id": 0} for cpu in cpus]))
    listed = ask("qom-list", path=path)
    said.append(("listed", listed))
    names = [entry["name"] for entry in listed if entry["name"] not in WORDS]
    said += [(name, ask("qom-get", path=path, property=name)) for name in [*names, "nothing"]]
    said.append(("set", ask("qom-set", path=path, property="avx2", value=True)))
    program.close()
    return [(name, as_inserted(value)) for name, value in said]


@pytest.mark.parametrize("name", COMPUTERS)
def test_computers(tmp_path: Path, name: str) -> None:
    words, number = COMPUTERS[name]
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-display", "none", "-nodefaults", "-S"]
    argv += ["-qmp", "stdio", "-machine", *words]
    ours, theirs = (_ask(each, tmp_path, number) for each in (qmpd_argv(argv), argv))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other
