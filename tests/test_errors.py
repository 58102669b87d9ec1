"""An error is one value: class, text and hint stay together, whatever is put before the text."""

from __future__ import annotations

import errno

import pytest

from qmpd.cli.report import CommandLineError
from qmpd.errors import ERROR_CLASSES, BlockIOError, GenericError, NotServed, QmpError


@pytest.mark.parametrize("error_class", [*ERROR_CLASSES.values(), NotServed])
def test_a_prefix_keeps_class_and_hint(error_class: type[QmpError]) -> None:
    error = error_class("text", "hint")

    prefixed = error.prefixed("first: ").prefixed("before: ")

    assert type(prefixed) is error_class
    assert (prefixed.desc, prefixed.hint) == ("before: first: text", "hint")
    assert str(prefixed) == prefixed.desc
    assert (error.desc, error.hint, str(error)) == ("text", "hint", "text")


def test_a_prefix_keeps_what_else_an_error_knows() -> None:
    failed = BlockIOError(errno.ENOSPC, hint="hint").prefixed("Could not write: ")
    wrong = CommandLineError("text", "hint", "-drive x").prefixed("before: ")

    assert (failed.errno, failed.hint) == (errno.ENOSPC, "hint")
    assert failed.desc == "Could not write: No space left on device"
    assert (wrong.location, wrong.hint) == ("-drive x", "hint")


def test_a_report_ends_every_line() -> None:
    error = GenericError("text")

    assert error.report == "text\n"
    assert error.hinted("one").report == "text\none\n"
    assert (
        error.hinted("one").hinted("two").prefixed("before: ").report == "before: text\none\ntwo\n"
    )
    assert error.hint is None
