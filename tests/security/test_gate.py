"""One gate to the files of the host: nothing opens, makes, removes or looks at a file elsewhere.

The list below is of all other places that do, each with the reason why no client chooses the path.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parents[2]

GATE: Final = "qmpd/block/images/host_files.py"

ALLOWED: Final[dict[str, tuple[str, str]]] = {
    # sockets, which have a gate of their own: server/sockets asks the gate, server/listening binds
    "qmpd/server/address.py": (".connect", "server/sockets asks the gate first"),
    "qmpd/server/chardev/socket.py": (".connect", "server/sockets asks the gate first"),
    "qmpd/server/chardev/udp.py": (".bind .connect", "the maker asks the gate first; no files"),
    "qmpd/server/dial.py": (".connect", "server/sockets asks the gate first"),
    "qmpd/server/listening.py": (
        ".bind .connect .lstat os.lstat os.unlink",
        "server/sockets asks the gate first; what is removed was made here, or is a dead socket",
    ),
    "qmpd/server/sockets.py": (".connect os.stat", "to tell nobody whether a file is no socket"),
    "qmpd/server/streams.py": (
        ".connect subprocess.PIPE subprocess.Popen",
        "sockets and programs of migrations: the gate is asked first",
    ),
    # descriptors, not paths
    "qmpd/block/images/fdsets.py": ("os.open", "/proc/self/fd/N of a descriptor handed over"),
    "qmpd/server/chardev/file.py": ("open", "a descriptor that the gate has opened"),
    # what options of the owner name, or the owner at the control monitor
    "qmpd/block/images/access.py": ("os.path.realpath", "the directories that options allow"),
    "qmpd/api/forks.py": ("os.path.lexists", "sockets of forks, by the control monitor"),
    "qmpd/cli/process.py": ("os.open", "/dev/null in the place of a closed descriptor"),
    "qmpd/cli/sessions.py": ("open os.open", "qmpd record, replay, compare: their files"),
    "qmpd/sim/lint/needs.py": ("open", "qmpd lint: what a client needs"),
    "qmpd/testing/lint_plugin.py": ("open", "the pytest plugin: what was found"),
    "qmpd/cli/schema.py": (".write_text", "qmpd schema --output"),
    "qmpd/cli/versions.py": (".write_text", "qmpd versions --page"),
    "qmpd/cli/system/config_files.py": ("open", "-readconfig, at the start"),
    "qmpd/cli/system/log_options.py": ("open", "-D, at the start"),
    "qmpd/cli/system/guest_files.py": ("open os.stat", "-acpitable and the like, at the start"),
    "qmpd/cli/system/qtest.py": ("open", "-qtest-log, at the start"),
    "qmpd/monitor/journal.py": ("open os.open", "--log-qmp, at the start"),
    "qmpd/server/lifecycle.py": (
        ".connect .lstat open os.chdir os.lstat os.open os.unlink",
        "--pidfile, /dev/null, the service manager's socket, names of processes",
    ),
    "qmpd/server/proxy.py": (".connect", "qmpd record: the server it stands before"),
    "qmpd/sim/state/format.py": ("open os.open", "checkpoints: --load, and the control monitor"),
    # the program's own
    "qmpd/base/console.py": ("os.open", "/dev/null in the place of a closed stream"),
    "qmpd/cli/own_process.py": ("os.chdir os.execv", "the same program, begun anew"),
    "qmpd/profile/devices.py": ("open", "data of the package"),
    "qmpd/profile/profile.py": ("open", "data of the package"),
    "qmpd/profile/recorded/store.py": ("open", "data of the package"),
    "qmpd/profile/shipped.py": (
        "os.path.isfile",
        "data of the package",
    ),
    # clients and tools, which serve nobody
    "qmpd/api/serving.py": ("shutil.rmtree tempfile.mkdtemp", "a directory for a socket of a test"),
    "qmpd/cli/ctl.py": (".connect", "a client"),
    "qmpd/cli/health.py": (".connect", "a client"),
    "qmpd/cli/record_machine.py": ("open os.makedirs", "makes data of the package"),
    "qmpd/cli/recorder/listings.py": (
        "subprocess.DEVNULL subprocess.PIPE subprocess.run",
        "makes data of the package",
    ),
    "qmpd/cli/recorder/emulator.py": (
        "subprocess.DEVNULL subprocess.Popen",
        "makes data of the package",
    ),
    "qmpd/qapi/compiler/parser.py": ("open", "reads the schema"),
    "qmpd/qapi/outputs/generate.py": (".mkdir .write_text", "makes data of the package"),
    "qmpd/testing/real.py": (
        ".bind .exists open shutil.which subprocess.DEVNULL subprocess.Popen"
        " subprocess.TimeoutExpired subprocess.run tempfile.TemporaryDirectory",
        "runs the real QEMU for tests",
    ),
    "qmpd/testing/remote.py": (".connect", "a client"),
    "qmpd/testing/server.py": (
        "open subprocess.DEVNULL subprocess.PIPE subprocess.Popen subprocess.TimeoutExpired"
        " tempfile.TemporaryDirectory",
        "runs qmpd for tests",
    ),
}
"""By file: the functions, and why."""

OS: Final = frozenset(
    "open unlink remove rename replace renames mkdir makedirs rmdir removedirs symlink link mkfifo"
    " mknod chmod chown lchown truncate utime listdir scandir walk fwalk stat lstat access readlink"
    " chdir chroot execv execve execl execle execvp execvpe spawnv posix_spawn posix_spawnp system"
    " popen startfile statvfs setxattr getxattr pathconf".split()
)
"""Functions of `os` that take a path, or run a program."""

OS_PATH: Final = frozenset(
    "exists lexists isfile isdir islink ismount realpath getsize getmtime samefile".split()
)
"""Functions of `os.path` that look at files."""

FUNCTIONS: Final = {"os": OS, "os.path": OS_PATH}

MODULES: Final = frozenset("subprocess shutil tempfile glob fileinput".split())
"""Modules of which every function counts."""

METHODS: Final = frozenset(
    "bind read_bytes write_bytes write_text mkdir rmdir is_file is_dir iterdir symlink_to"
    " hardlink_to chmod exists lstat".split()
)
"""Methods of sockets and paths, whatever the object is."""


def _called(module: ast.Module) -> Iterator[str]:
    """The functions that a module calls or hands on, of those that count."""
    takes_sockets = any(
        isinstance(node, ast.Import) and any(name.name == "socket" for name in node.names)
        for node in ast.walk(module)
    )
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "os.path", *MODULES):
            yield f"from {node.module}"
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            head, _, last = name.rpartition(".")
            if (
                (head == "os" and last in OS)
                or (head == "os.path" and last in OS_PATH)
                or head in MODULES
            ):
                yield name
        elif isinstance(node, ast.Name) and node.id == "open":
            yield "open"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in METHODS:
                yield f".{node.func.attr}"
            elif node.func.attr == "connect" and takes_sockets:
                yield ".connect"


def _found() -> dict[str, set[str]]:
    found = {}
    for path in sorted((ROOT / "qmpd").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        called = set(_called(ast.parse(path.read_text(encoding="utf-8"))))
        if called and name != GATE:
            found[name] = called
    return found


def test_nothing_else_reaches_files() -> None:
    found = _found()

    allowed = {name: set(functions.split()) for name, (functions, _) in ALLOWED.items()}
    more = {name: called - allowed.get(name, set()) for name, called in found.items()}
    assert {name: called for name, called in more.items() if called} == {}
    assert set(ALLOWED) - set(found) == set()  # the list has no more than it has to


def test_the_finder_finds() -> None:
    sample = """
import os, socket
from shutil import copy
def f(path, sock):
    with open(path): ...
    os.path.exists(path); x = os.unlink; sock.bind(path); sock.connect(path); self.open(path)
"""
    assert set(_called(ast.parse(sample))) == {
        *("open", "os.path.exists", ".exists", "os.unlink", "from shutil", ".bind", ".connect")
    }
