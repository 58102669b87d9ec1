"""``-qtest``: a channel by which a harness steps the guest's clock."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qmpd.cli.options.chardev import chardev_of, parse_short_form
from qmpd.cli.report import CommandLineError
from qmpd.errors import GenericError
from qmpd.server.qtest import QtestChannel

if TYPE_CHECKING:
    from typing import TextIO

    from qmpd.cli.options.chardev import ChardevFactory
    from qmpd.cli.process import Process
    from qmpd.cli.system.config import SystemConfig
    from qmpd.server.chardev.chardev import Chardev


def start_qtest(config: SystemConfig, process: Process, factory: ChardevFactory) -> None:
    """Open the channel that ``-qtest`` asks for.

    :raises CommandLineError: there is no such character device, and none can be made
    """
    assert config.qtest is not None
    text = config.qtest.what
    chardev = _chardev(text, process, factory)
    if chardev is None:
        raise CommandLineError(f'Failed to initialize device for qtest: "{text}"', location="")
    harness = process.server.machine.services.clocks.harness
    QtestChannel(chardev, harness, _open_log(config.qtest_log))


def _chardev(text: str, process: Process, factory: ChardevFactory) -> Chardev | None:
    found = chardev_of(text)
    if found is not None:
        return process.server.chardevs.find(found)
    try:
        opts = parse_short_form("qtest", text)
    except GenericError as error:
        if error.desc:
            process.program.message(error.desc, None, error.hint)
        return None
    return factory.create(opts)


def _open_log(path: str | None) -> TextIO | None:
    if path is None:
        return sys.stderr
    if path == "none":
        return None
    try:
        return open(path, "w", encoding="utf-8")
    except OSError:
        # a log that cannot be opened is none (qtest_server_init)
        return None
