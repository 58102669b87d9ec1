"""Tests of unittest with a machine."""

from __future__ import annotations

import functools
import unittest
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.testing.machines import Machines
from qmpd.testing.wishes import ARGUMENTS, SEVERAL, check

if TYPE_CHECKING:
    from qmpd.api.machine import Machine


class MachineTestCase(unittest.TestCase):
    """A test case whose tests have a machine, `vm`; it is closed after each.

    >>> import unittest
    >>> class TestBitmaps(MachineTestCase):
    ...     qmpd = {"disks": {"disk0": "1M"}}
    ...
    ...     def test_add(self):
    ...         self.vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
    ...         self.vm.journal.assert_called("block-dirty-bitmap-add")
    >>> result = unittest.TestResult()
    >>> _ = TestBitmaps("test_add").run(result)
    >>> result.wasSuccessful()
    True

    A test that fails shows the machine's journal.  One that passes fails after all if it has left
    a machine open that it has made, a job, or a fault that has never struck.
    """

    qmpd: ClassVar[dict[str, Any]] = {}
    """What the machines are: the arguments of pytest's marker qmpd, but for those that run a test
    several times, ``versions`` and ``schedules``."""

    def setUp(self) -> None:
        """Make the machine."""
        super().setUp()
        self.vm: Machine = self.machines.make({}, kept=True)
        """The test's machine."""

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test, see what it leaves, and close its machines."""
        whose = f"{type(self).__qualname__}.qmpd"
        wishes = {name: value for name, value in self.qmpd.items() if name not in SEVERAL}
        for name in self.qmpd.keys() - wishes.keys():
            known = ", ".join(name for name in ARGUMENTS if name not in SEVERAL)
            raise ValueError(f"{whose}: there is no argument {name!r}; it takes {known}")
        check(wishes, whose)
        self.machines = Machines(wishes)
        """Makes further machines: call it as `qmpd.Machine`."""
        name = self._testMethodName
        before = self.__dict__.get(name)
        setattr(self, name, self._watched(getattr(self, name)))
        try:
            return super().run(result)
        finally:
            if before is None:
                delattr(self, name)
            else:
                setattr(self, name, before)
            self.machines.close()

    def _watched(self, test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def watched(*args: Any, **keywords: Any) -> Any:
            try:
                result = test(*args, **keywords)
                if complaint := self.machines.complaint():
                    self.fail(complaint)
            except unittest.SkipTest:
                raise
            except Exception as error:
                for title, text in self.machines.texts():
                    error.add_note(f"journal of {title}:\n{text}")
                raise
            return result

        return watched
