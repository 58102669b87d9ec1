"""What the check of an option knows besides its value: the version, and whom to warn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.cli.report import Probe
from qmpd.options.qemu_opts import OptionGroup, Opts, Warn, parse_opts

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.profile import Profile


def group_of(profile: Profile, group: OptionGroup) -> OptionGroup:
    """A group of the default version as it is in the version of `profile`."""
    if not profile.trims_output:
        return group
    from qmpd.cli.system.option_groups import option_groups

    found = option_groups(profile).get(group.name)
    return group if found is None else group._replace(kinds=found.kinds)


def help_of(profile: Profile, group: OptionGroup, status: int = 1) -> Probe:
    """What help of an option prints."""
    from qmpd.cli.system.option_groups import help_text

    return Probe(help_text(profile, group.name), status)


class Given:
    """What is given to checks.

    :param profile: of the machine that will be made
    :param warn: prints a warning about the option
    :param ids: of a group of options, those that have been used
    """

    def __init__(self, profile: Profile, warn: Warn, ids: Callable[[str], set[str]]) -> None:
        self.profile = profile
        self.ids = ids
        self._warn = warn

    def warn(self, text: str, hint: str | None = None) -> None:
        """Print a warning about the option."""
        self._warn(text, hint)

    def warn_of_form(self, text: str, hint: str | None) -> None:
        """Warn of how the option is written, where the version does."""
        if self.profile.rules.holds("short-boolean-options"):
            self._warn(text, hint)

    def parse(self, group: OptionGroup, text: str) -> Opts:
        """Read QemuOpts syntax.

        :raises GenericError: with QEMU's text
        """
        return parse_opts(group_of(self.profile, group), text, self.warn_of_form)

    def opts(self, group: OptionGroup, text: str) -> Opts:
        """Read QemuOpts syntax, where help is answered.

        :raises GenericError: with QEMU's text
        :raises Probe: the list of parameters is asked for
        """
        opts = self.parse(group, text)
        if opts.wants_help:
            raise help_of(self.profile, group)
        return opts
