"""What of a client's session other versions of QEMU treat otherwise, and what the client overlooks.

A `Session` is what a client and a server have said.  Each module finds one kind of thing in it:

* `refusals`: what versions refuse
* `deprecations`: what is deprecated in them
* `ruled`: what versions treat otherwise by a rule of qmpd's
* `differences`: what versions answer otherwise by their schemas
* `ignored`: errors after which the client goes on as if there were none
* `waits`: requests that come before the event which makes them safe, and loops instead of events
* `needs`: members that the client needs, and versions that lack them
"""

from qmpd.sim.lint.finding import Finding, Kind, between
from qmpd.sim.lint.run import lint
from qmpd.sim.lint.session import Asked, Session

__all__ = ["Asked", "Finding", "Kind", "Session", "between", "lint"]
