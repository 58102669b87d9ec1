"""What the holder of a machine does with checkpoints, besides going back to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from qmpd.sim.holder import Holder

if TYPE_CHECKING:
    from qmpd.sim.state.checkpoint import Checkpoint


class Fork(NamedTuple):
    """Another machine, which goes on from a checkpoint behind a socket of its own.

    :param id: ``fork0``, ``fork1``, ...
    :param qmp: where its ordinary monitor is, ``unix:PATH``
    :param control: where its control monitor is, if it has one
    """

    id: str
    qmp: str
    control: str | None


class ForkMaker(Protocol):
    """Makes forks in the process of a machine, on the event loop that runs it."""

    def make(self, checkpoint: Checkpoint, qmp: str, control: str | None) -> Fork:
        """Make a machine that goes on from a checkpoint, and serve it.

        :param qmp: where to serve its ordinary monitor, ``unix:PATH``
        :param control: where to serve its control monitor; None: nowhere
        :raises ValueError: that is no address, or there is a file already
        :raises GenericError: nothing can listen there
        """

    def there_are(self) -> list[Fork]:
        """The forks of this process that have not ended, forks of forks among them."""


class Keeper(Holder, Protocol):
    """Who holds the machine on a bench, and can bring a checkpoint of it elsewhere."""

    @property
    def forks(self) -> ForkMaker | None:
        """Who makes forks that are served; None: nobody."""

    def save(self, checkpoint: Checkpoint, filename: str) -> None:
        """Write the machine of a checkpoint to a file, from which it can be made again.

        :param filename: made with mode 0600; a file that is there keeps its mode
        :raises OSError: it cannot be written
        :raises GenericError: there is something in the checkpoint that cannot be told
        """
