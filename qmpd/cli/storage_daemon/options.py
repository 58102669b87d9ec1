"""What each option of the storage daemon does, in the order in which they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.cli.options.chardev import ChardevFactory, parse_chardev
from qmpd.cli.options.monitor import add_monitor, read_tree
from qmpd.cli.options.object import add_object, object_help
from qmpd.cli.process import add_node
from qmpd.cli.report import CommandLineError, Probe, located
from qmpd.errors import QmpError
from qmpd.machine.chardevs import backend_names
from qmpd.options.block_tree import NBD_SERVER, read_nbd_server, read_option_value
from qmpd.options.command_line import Option
from qmpd.options.getopt_long import STRAY
from qmpd.options.groups import TRACE
from qmpd.options.qemu_opts import help_text, parse_opts
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.cli.process import Process


class StorageDaemonOptions:
    """Applies options to a process, one by one.

    :param process: with its machine built
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._program = process.program
        self._factory = ChardevFactory(process.server, self._inform)
        self._location = ""
        self._actions = {
            "blockdev": self._blockdev,
            "chardev": self._chardev,
            "monitor": self._monitor,
            "object": self._object,
            "export": self._export,
            "nbd-server": self._nbd_server,
            "trace": self._trace,
        }

    def apply(self, option: Option) -> None:
        """Do what `option` says.

        :raises CommandLineError: with QEMU's text
        :raises Probe: it only asks what there is
        """
        if option.name == STRAY:
            raise CommandLineError("Unexpected argument", location=option.location)
        action = self._actions.get(option.name)
        if action is None:
            return
        self._location = option.location
        server = self._process.server
        if self._program.names_options:
            server.at_option = f"{self._program.name}: {option.location}: "
        try:
            action(option.value)
        except QmpError as error:
            raise located(error, option.location) from None
        finally:
            server.at_option = ""

    def _inform(self, text: str) -> None:
        self._program.message(f"info: {text}", self._location)

    def _warn(self, text: str, hint: str | None = None) -> None:
        self._program.warn(text, self._location, hint)

    def _read(self, type_name: str, text: str, implied_key: str) -> dict[str, Any]:
        reader = self._process.server.machine.profile.reader
        return read_option_value(reader, type_name, text, implied_key)

    def _blockdev(self, text: str) -> None:
        add_node(self._process.server, self._read("BlockdevOptions", text, "driver"))

    def _chardev(self, text: str) -> None:
        if text in ("help", "?"):
            profile = self._process.server.machine.profile
            listed = backend_names(profile, Personality.STORAGE_DAEMON)
            names = "".join(f"\n  {name}" for name in listed)
            raise Probe(f"Available chardev backend types: {names}\n")
        opts = parse_chardev(text, self._warn)
        if opts.wants_help:
            raise Probe(help_text(opts.group), 1)
        self._factory.create(opts)

    def _monitor(self, text: str) -> None:
        from qmpd.options.block_tree import parse_tree

        parse_json = self._process.server.machine.profile.parse_json
        tree = parse_tree(text, "chardev", parse_json)
        options = read_tree(tree, self._location)
        add_monitor(self._process.server, self._factory, options, human=False)

    def _object(self, text: str) -> None:
        profile = self._process.server.machine.profile
        printed = object_help(text, profile, Personality.STORAGE_DAEMON)
        if printed is not None:
            raise Probe(printed)
        add_object(self._process.server.machine, text)

    def _export(self, text: str) -> None:
        from qmpd.export.add import add_export

        server = self._process.server
        options = self._read("BlockExportOptions", text, "type")
        server.run_now(add_export(server.machine, options))

    def _nbd_server(self, text: str) -> None:
        machine = self._process.server.machine
        profile = machine.profile
        first = profile.types.object(NBD_SERVER).members[0].name
        options = read_nbd_server(profile.reader, text, address_first=first == "addr")
        machine.nbd.start(options)

    def _trace(self, text: str) -> None:
        from qmpd.cli.options.trace import known_events, switch

        if text.removeprefix("enable=") in ("help", "?"):
            raise CommandLineError("a list of trace events (--trace help) is not served by qmpd")
        opts = parse_opts(TRACE, text, self._warn)
        for name, _ in opts:
            if name != "enable":
                raise CommandLineError(f"--trace {name}= is not served by qmpd")
        enable = opts.get("enable")
        if enable is not None:
            switch(known_events(self._process.server.machine.profile), enable, self._warn)
