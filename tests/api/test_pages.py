"""Every block of the documentation runs and prints what the page says (`tests.support.pages`)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, Block, read_blocks

ELSEWHERE = ("clients.md",)
"""Pages whose blocks need more than qmpd, and are run by tests of their own."""

BLOCKS = [
    block
    for page in PAGES
    if page.name not in ELSEWHERE
    for block in read_blocks(page)
    if block.is_run
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_block(block: Block, tmp_path: Path) -> None:
    done = block.run(tmp_path)
    output = done.stdout + done.stderr
    assert (done.returncode == 0) is not block.may_fail, output
    assert block.missing(output) == [], output
    if block.language == "python":
        for promised in re.findall(r"^ *print\(.*\)  # (.*)$", block.body, re.MULTILINE):
            said = promised
            if promised not in done.stdout:
                said = re.split(r": |, [a-z]", promised)[0].removesuffix("...")
            assert said in done.stdout
        if block.leaves_nothing:
            assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert "://" in link or (page.parent / link).exists(), link


def test_the_pages_are_found() -> None:
    assert ROOT / "docs" / "api.md" in PAGES
    assert len(BLOCKS) > 10


def test_every_public_name_is_on_the_page() -> None:
    import qmpd

    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    for name in dir(qmpd.Machine):
        if not name.startswith("_") and name not in ("event_match", "closed"):
            assert re.search(rf"\b{name}\b", text), name
