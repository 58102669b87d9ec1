"""``qmpd``: the program for people."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence

from qmpd.version import __version__

USAGE = """\
usage: qmpd COMMAND ...

A daemon that speaks QMP like QEMU 10.0 and emulates its block layer.

commands:
  serve     serve a machine ('qmpd serve --help')
  ctl       run one command at a monitor ('qmpd ctl --help')
  record    write down what a client and a QMP server say ('qmpd record --help')
  replay    answer a client as it was recorded ('qmpd replay --help')
  compare   play a recorded client to qmpd, and show what differs ('qmpd compare --help')
  lint      tell what versions of QEMU make of a recorded client, and where it races
            ('qmpd lint --help')
  schema    look at QAPI schemas ('qmpd schema --help')
  versions  list the versions of QEMU that qmpd can be
  record-machine
            make the answers to probing commands anew from an installed QEMU

options:
  -h, --help     print this and exit
  -V, --version  print the version and exit

qmpd-system and qmpd-storage-daemon take the command lines of QEMU's own programs.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (without the program's name) names; returns the status.

    Where nobody reads on what it prints, it ends with 141, as other programs do for a shell.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # close() tries to write what is left once more
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.close()
        return 128 + signal.SIGPIPE
    return status


def _run(words: Sequence[str]) -> int:
    command = words[0] if words else "--help"
    if command == "serve":
        from qmpd.cli import serve

        return serve.main(words[1:])
    if command == "ctl":
        from qmpd.cli import ctl

        return ctl.main(words[1:])
    if command in ("record", "replay", "compare"):
        from qmpd.cli import sessions

        run = {"record": sessions.record, "replay": sessions.replay, "compare": sessions.compare}
        return run[command](words[1:])
    if command == "lint":
        from qmpd.cli import lint

        return lint.main(words[1:])
    if command == "schema":
        from qmpd.cli import schema

        return schema.main(words[1:])
    if command == "versions":
        from qmpd.cli import versions

        return versions.main(words[1:])
    if command == "record-machine":
        from qmpd.cli import record_machine

        return record_machine.main(words[1:])
    if command in ("-V", "--version"):
        print(f"qmpd {__version__}")
        return 0
    if command in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if words else 2
    print(f"qmpd: '{command}' is no command; see 'qmpd --help'", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
