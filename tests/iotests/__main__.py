"""Run QEMU's block tests on qmpd and print a table.

    python -m tests.iotests [OPTIONS] [NAME[:FORMAT] | quick | expected | all ...]

Fails where a test of `expected.txt` no longer passes.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.iotests.lists import Entry, chosen

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run the tests that the command line names; returns the exit status."""
    options = _options()
    sources = _sources(options.sources)
    if sources is None:
        print("*** THE SOURCES OF QEMU CANNOT BE HAD HERE: ITS BLOCK TESTS ARE SKIPPED ***")
        return 0 if options.skip else 1
    entries = chosen(options.tests)
    _compile()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    # A short name: there are sockets in it.
    with tempfile.TemporaryDirectory(prefix="qi-", dir="/tmp") as name:
        tools = Path(name)
        if not options.real:
            for program, ours in (
                ("qemu-system-x86_64", "qmpd-system"),
                ("qemu-storage-daemon", "qmpd-storage-daemon"),
            ):
                (tools / program).symlink_to(Path(sys.executable).parent / ours)
        return _table(_results(entries, sources, tools, options), options.verbose)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.iotests", description=__doc__)
    parser.add_argument("tests", nargs="*", metavar="TEST")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=400, help="seconds for each test (400)")
    parser.add_argument("--real", action="store_true", help="run them on the installed QEMU")
    parser.add_argument("--skip", action="store_true", help="no failure without sources")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what failing tests say")
    parser.add_argument(
        "--sources",
        type=Path,
        default=os.environ.get("QEMU_SRC") or ROOT / "build" / "qemu-sources",
        help="QEMU's sources, unpacked; fetched where they are not",
    )
    return parser.parse_args()


def _sources(folder: Path) -> Path | None:
    """The folder with QEMU's sources, fetched if need be; None where they cannot be."""
    folder = Path(folder).resolve()
    check = folder / "tests" / "qemu-iotests" / "check"
    if not check.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fetch = Path(__file__).parent / "fetch-sources"
        subprocess.run([str(fetch), str(folder)], stderr=subprocess.DEVNULL, check=False)
    return folder if check.exists() else None


def _compile() -> None:
    """Have byte code ready, away from all sources.

    A test may start a hundred programs, and some give one a second to start and to do its work.
    """
    folder = ROOT / "build" / "pycache"
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(folder)
    compileall.compile_dir(ROOT / "qmpd", quiet=1, workers=0)


Result = tuple[Entry, dict[str, Any]]


def _results(
    entries: list[Entry], sources: Path, tools: Path, options: argparse.Namespace
) -> list[Result]:
    """Run tests side by side, and print a line for each as it ends."""
    started: set[subprocess.Popen[str]] = set()

    def run(number: int, entry: Entry) -> dict[str, Any]:
        place = str(tools / str(number))
        argv = [sys.executable, "-m", "tests.iotests.single", str(sources), str(tools), place]
        argv += [entry.name, entry.image, str(options.limit)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
        started.add(process)
        output, errors = process.communicate()
        started.remove(process)
        lines = output.splitlines()
        if not lines:
            return {"outcome": "FAIL", "methods": None, "seconds": 0, "log": errors}
        result: dict[str, Any] = json.loads(lines[-1])
        return result

    results = []
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run, *numbered): numbered[1] for numbered in enumerate(entries)}
        try:
            for future in as_completed(running):
                entry, result = running[future], future.result()
                results.append((entry, result))
                print(_line(entry, result), flush=True)
                if options.verbose and result["outcome"] not in ("pass", "not run"):
                    print("".join(f"    | {line}\n" for line in result["log"].splitlines()))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(started):
                process.terminate()
            raise
    return results


def _line(entry: Entry, result: dict[str, Any]) -> str:
    detail = result.get("why", "")
    if result["methods"] is not None:
        detail = f"{result['methods'][0]} of {result['methods'][1]} methods"
    word = result["outcome"]
    if word in ("FAIL", "late") and _as_expected(entry, result):
        word = "known" if entry.passes else word
    text = f"{word:8}{entry.name:32}{entry.image:10}{result['seconds']:6.1f} s  {detail}"
    return text.rstrip()


def _as_expected(entry: Entry, result: dict[str, Any]) -> bool:
    """Whether the test passes as far as the list says."""
    if not entry.passes or result["outcome"] == "pass":
        return True
    if entry.optional and result["outcome"] == "not run":
        return True
    methods = result["methods"]
    return entry.methods is not None and methods is not None and methods[0] >= entry.methods


def _table(results: list[Result], verbose: bool) -> int:
    """Print what has come of it all; returns the exit status."""
    passed = [entry for entry, result in results if result["outcome"] == "pass"]
    worse = sorted(e.name for e, result in results if not _as_expected(e, result))
    better = sorted(e.name for e in passed if not e.passes or e.methods is not None)
    seconds = sum(result["seconds"] for _, result in results)
    print(f"\n{len(passed)} of {len(results)} pass; {seconds:.0f} s of tests")
    if better:
        print(f"not in expected.txt as passing, but they do: {' '.join(better)}")
    if worse:
        print(f"*** NO LONGER PASSING: {' '.join(worse)}")
    if worse and not verbose:
        for entry, result in results:
            if entry.name in worse:
                print(f"\n--- {entry.name}\n{result['log']}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
