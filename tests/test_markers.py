"""The account of skipped tests, and the table of markers, are true."""

from __future__ import annotations

import pytest

from tests.conftest import HERE, MARKED

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(("marker", "beginning"), [(m, b) for m, bs in MARKED.items() for b in bs])
def test_every_marked_place_has_tests(marker: str, beginning: str) -> None:
    places = [path.relative_to(HERE).as_posix() for path in HERE.rglob("test_*.py")]
    assert any(place.startswith(beginning) for place in places), marker


@pytest.mark.parametrize(
    ("missing", "reason", "fails"),
    [
        (None, "no such thing here", True),
        (None, "installs a wheel and its dependencies anew; CI does", False),
        ("qemu-system-x86_64 is not installed", "no such thing here", False),
    ],
)
def test_a_skipped_test_fails_the_run_where_qemu_is(
    pytester: pytest.Pytester, missing: str | None, reason: str, fails: bool
) -> None:
    conftest = (HERE / "conftest.py").read_text(encoding="utf-8")
    conftest = conftest.replace(
        "from tests.support.programs import qemu_missing",
        f"def qemu_missing():\n    return {missing!r}\n",
    )
    pytester.makeconftest(conftest)
    pytester.makepyfile(f"import pytest\n\ndef test_it():\n    pytest.skip({reason!r})\n")
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(skipped=1)
    assert result.ret == (1 if fails else 0)
    assert ("FAILED: 1 skipped, and may not be (MAY_BE_SKIPPED):" in result.outlines) == fails
