"""``-readconfig``: options from a file, section by section (``qemu_parse_config_group``).

A section says what an option of the command line says. It is checked against the parameters of its
group, and then read as that option would be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Final

from qmpd.base.identifiers import check_id
from qmpd.base.qdict import QDict
from qmpd.cli.report import CommandLineError, InFile
from qmpd.cli.system.option_groups import option_groups
from qmpd.errors import GenericError
from qmpd.options.command_line import Option
from qmpd.options.config_file import Section, sections_of
from qmpd.options.qemu_opts import OptionGroup, Opts

if TYPE_CHECKING:
    from qmpd.cli.report import Program
    from qmpd.profile import Profile

OPTIONS: Final = {"boot-opts": "boot", "memory": "m", "smp-opts": "smp"}
"""Groups whose option has another name."""

BY_KEYVAL: Final = ("audiodev", "boot-opts", "machine", "object", "smp-opts")
"""Groups whose parameters are checked only when they are used, but in the oldest versions."""

IGNORED: Final = frozenset(
    "acpi msg option-rom overcommit plugin realtime run-with smbios trace virtfs".split()
)
"""Groups that only options of the command line do something with."""


Pairs = list[tuple[str, str]]


class ConfigFile:
    """One ``-readconfig``.

    :param option: the option, whose argument is the file
    :param ids: of a group's options so far
    """

    def __init__(
        self,
        option: Option,
        profile: Profile,
        program: Program,
        ids: Callable[[str], Collection[str]],
    ) -> None:
        self._path = option.value
        self._location = option.location
        self._program = program
        self._ids = ids
        rules = profile.rules
        self._names_lines = rules.holds("configuration-lines-are-named")
        self._by_lines = rules.holds("configuration-by-lines")
        self._groups = option_groups(profile)
        if rules.holds("audiodev-sections"):
            self._groups["audiodev"] = OptionGroup("audiodev", None, None)

    def options(self) -> Iterator[Option]:
        """What its sections say, each as an option.

        :raises CommandLineError: with QEMU's text
        """
        for section in sections_of(self._text()):
            if section.wrong is not None and not self._by_lines:
                raise self._refusal(GenericError(section.wrong.text), section.wrong.line)
            name, pairs = str(section.group), self._checked(section)
            ignored = self._by_lines and self._groups[name].merge and section.ident is not None
            if name in IGNORED or ignored:
                continue
            place = self._place(section.header if self._by_lines else section.line)
            if name == "audiodev":
                place = self._location
            yield Option(OPTIONS.get(name, name), _as_text(name, pairs), place)

    def _text(self) -> str:
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                return file.read()
        except IsADirectoryError as error:
            if self._by_lines:
                self._program.message("error reading file")
                raise self._failed("Invalid argument") from None
            raise CommandLineError(f"Cannot read config file: {error.strerror}") from None
        except OSError as error:
            if self._by_lines:
                raise self._failed(error.strerror) from None
            raise CommandLineError(f"Could not open '{self._path}': {error.strerror}") from None

    def _failed(self, why: str | None) -> CommandLineError:
        return CommandLineError(f"read config {self._path}: {why}")

    def _place(self, line: int | None) -> str:
        return "" if line is None else InFile(f"{self._path}:{line}")

    def _refusal(self, error: GenericError, line: int | None) -> CommandLineError:
        """What is said of a wrong line, by the versions that name it and by those that do not."""
        if self._by_lines:
            self._program.message(error.desc, self._place(line), error.hint)
            return self._failed("Invalid argument")
        if self._names_lines:
            return CommandLineError(error.desc, error.hint, self._place(line))
        return CommandLineError(error.desc, error.hint)

    def _checked(self, section: Section) -> Pairs:
        """The parameters of a section, its id among them."""
        group = self._groups.get(section.group or "")
        if self._by_lines:
            return self._checked_by_lines(section, group)
        try:
            if group is None:
                raise GenericError(f"There is no option group '{section.group}'")
            return self._checked_at_once(section, group)
        except GenericError as error:
            # of the last section nobody adds a hint any more
            hint = error.hint if section.followed or not self._names_lines else None
            raise self._refusal(GenericError(error.desc, hint), section.line) from None

    def _checked_at_once(self, section: Section, group: OptionGroup) -> Pairs:
        values = {} if section.ident is None else {"id": section.ident}
        values |= {name: value for name, value, _ in section.options}
        in_order = QDict(values)
        if group.name in BY_KEYVAL:
            return list(in_order.items())
        opts = Opts(group, values.get("id"))
        self._check_id(opts)
        for name, value in in_order.items():
            if name != "id":
                opts.set(name, value)
        return _pairs_of(opts)

    def _checked_by_lines(self, section: Section, group: OptionGroup | None) -> Pairs:
        """As the oldest versions do, in which a section with a wrong id is none."""
        if group is None and section.group is not None:
            error = GenericError(f"There is no option group '{section.group}'")
            raise self._refusal(error, section.header)
        opts = None if group is None else Opts(group, section.ident)
        if opts is not None:
            try:
                self._check_id(opts)
            except GenericError:
                opts = None
        for name, value, number in section.options:
            try:
                if opts is None:
                    raise GenericError("no group defined")
                if name == "id":
                    raise GenericError("Invalid parameter 'id'")
                opts.set(name, value)
            except GenericError as error:
                raise self._refusal(error, number) from None
        if section.wrong is not None:
            raise self._refusal(GenericError(section.wrong.text), section.wrong.line)
        return [] if opts is None else _pairs_of(opts)

    def _check_id(self, opts: Opts) -> None:
        """See that an id may be there, and is new (``qemu_opts_create``)."""
        if opts.id is None:
            return
        if opts.group.merge and not self._by_lines:
            raise GenericError("Invalid parameter 'id'")
        check_id(opts.id)
        if opts.group.merge:
            return
        if opts.id in self._ids(opts.group.name):
            raise GenericError(f"Duplicate ID '{opts.id}' for {opts.group.name}")


def _pairs_of(opts: Opts) -> Pairs:
    return opts.values if opts.id is None else [("id", opts.id), *opts.values]


def _as_text(group: str, pairs: Pairs) -> str:
    """The parameters as an option is given them; what has an argument of its own comes first."""
    first = [(name, value) for name, value in pairs if name == group]
    words = [value for _, value in first]
    words += [f"{name}={value}" for name, value in pairs if name != group]
    return ",".join(word.replace(",", ",,") for word in words)
