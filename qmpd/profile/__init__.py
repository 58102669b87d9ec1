"""Profiles: a version of QEMU as a value that a machine is given.

What distinguishes one QEMU from another, for its clients, is mostly a matter of tables: which
commands and events there are and in which order they are listed, what their types are, which
features mark them, which models of devices exist, what the version says of itself, and the
wording of a few messages.  A `Profile` holds these tables.  A machine is made with one and asks
it; nothing else in the process knows a version, so machines of different versions run side by
side.

A profile is a directory of data (``versions/10.0`` is the one that comes with qmpd):

===========================  =================================================================
``profile.json``             name, version, texts that differ from the usual ones
``types.json``               the types of the schema                     (generated)
``entry-points.json``        its commands and events                     (generated)
``system-emulator.json``     commands and events of that program, in its order
``storage-daemon.json``      the same for the other program
``device-properties.json``   properties of the device models that are used often
``recorded``                 what the real programs have answered about themselves
===========================  =================================================================

The first two are written by ``qmpd schema generate`` from the QAPI schema; the others are
recorded from the real programs.  None is read before it is needed: to greet a client takes no
more than ``profile.json``.

What a profile does not have is code.  Handlers of commands are written against the declarations
in `qmpd.profile.models`; a command is served when the profile lists it and a handler exists.
"""

from __future__ import annotations

from qmpd.profile.personality import Personality
from qmpd.profile.profile import Profile, Program, Texts, Version
from qmpd.profile.shipped import load

__all__ = ["Personality", "Profile", "Program", "Texts", "Version", "load"]
