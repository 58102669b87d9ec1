"""An image as one layer of a chain of backing files."""

from __future__ import annotations


class Layer:
    """The open image of a driver with backing files.

    A driver that reads through a long chain recognises the layers of its own kind by their
    class, and walks from one to the next in a loop: a chain of hundreds of images would
    otherwise be hundreds of coroutines deep.  On the way it begins and ends a read on each
    node (`NodeIO.begin_read`).
    """

    __slots__ = ()
