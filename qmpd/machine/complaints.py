"""Who hears what a machine complains about: the terminal, or the human monitor at work."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from qmpd.block.model.services import Say
from qmpd.errors import NotServed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qmpd.machine.host import Host
    from qmpd.profile.rules import Rules


class Complaints:
    """What a machine says to people, and not to clients (error_report and its like).

    :param host: whose standard output and standard error it has
    :param rules: of its version, which has words of its own
    """

    def __init__(self, host: Host, rules: Rules) -> None:
        self._host = host
        self._rules = rules
        self.hmp_output: list[str] | None = None
        """What is complained about while the human monitor runs a command; None: it runs none."""
        self.closing = False
        """Whether the machine ends: then its monitors hear nothing any more."""

    def say(self) -> Say:
        """Where the words of its block layer go."""
        return Say(self._host.print, self.hear, self._host.report, self._die)

    @contextmanager
    def shown(self) -> Iterator[list[str]]:
        """Within, the human monitor runs a command; yields what is complained about meanwhile."""
        complaints = self.hmp_output = []
        try:
            yield complaints
        finally:
            self.hmp_output = None

    @contextmanager
    def of_others(self) -> Iterator[None]:
        """Within, a command waits and others have their turn, whose complaints are not its own."""
        output, self.hmp_output = self.hmp_output, None
        try:
            yield
        finally:
            self.hmp_output = output

    def hear(self, complaint: str) -> None:
        """Pass a complaint on.

        :param complaint: without its line end
        """
        if self._rules.rewords_monitor:
            complaint = self._rules.monitor_words(complaint)
        if self.closing:
            self._host.report_alone(f"{complaint}\n")
        elif self.hmp_output is None:
            self._host.report(f"{complaint}\n")
        else:
            self.hmp_output.append(f"{complaint}\n")

    def _die(self, complaint: str) -> None:
        self._host.report(f"{complaint}\n")
        with suppress(NotServed):
            self._host.exit(1)
