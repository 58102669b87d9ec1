"""QEMU's own block tests, run on qmpd: ``make iotests [TESTS=...]``.

The tests are QEMU's and stay so: their sources are fetched when they are wanted and run as they
are; no part of them is kept here.  See docs/howto/iotests.md.
"""
