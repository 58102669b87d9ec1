"""Try inputs that nobody would send on purpose, and keep those that something goes wrong with.

    python -m tests.fuzz [--seconds S] [--inputs N] [--seed N]
        [wire arguments nbd vhost-user qcow2 ...]
    python -m tests.fuzz --replay FILE
    python -m tests.fuzz soak [--requests N]

Fails where a daemon crashes, hangs, says that it did not foresee something, or does not give back
memory or descriptors.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.fuzz.run import FUZZERS, replay_file, run
from tests.fuzz.soak import soak


def main() -> int:
    """Do what the command line says; returns the exit status."""
    options = _options()
    if options.replay is not None:
        failure = replay_file(options.replay)
        print(failure or "nothing goes wrong")
        return failure is not None
    names = options.fuzzers or list(FUZZERS)
    failed = False
    for name in names:
        if name == "soak":
            soak(options.requests)
            continue
        print(f"{name}: seed {options.seed}", flush=True)
        begin = time.monotonic()
        seconds, least = options.seconds / len(names), options.inputs
        result = run(FUZZERS[name], options.seed, seconds, options.keep, least=least)
        print(f"{name}: {result.count} inputs in {time.monotonic() - begin:.0f} s", flush=True)
        if result.failure is not None:
            failed = True
            print(f"{name}: {result.failure}\n{name}: --replay {result.kept}", flush=True)
    return failed


def _options() -> argparse.Namespace:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=about,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("fuzzers", nargs="*", choices=[[], *FUZZERS, "soak"], metavar="FUZZER")
    parser.add_argument("--seconds", type=float, default=60, help="for all of them (60)")
    parser.add_argument("--inputs", type=int, default=1, help="of each, however long that takes")
    seed = random.randrange(1 << 32)
    parser.add_argument("--seed", type=int, default=seed, help="the same, the same inputs")
    keep = Path("build/fuzz")
    parser.add_argument("--keep", type=Path, default=keep, help=f"where inputs are kept ({keep})")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play kept inputs again")
    parser.add_argument("--requests", type=int, default=10_000_000, help="of a soak (10 million)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
