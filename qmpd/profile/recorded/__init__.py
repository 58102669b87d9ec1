"""What a real QEMU has answered about itself: its QOM types, machine types, CPU models, options.

Management programs ask for it before they start a machine.  It is data: ``qmpd record-machine``
makes it anew from an installed QEMU, and nothing of it is read before a client asks.

`store` reads the files, `qom` and `cpus` answer from them; `coding` is how tables that are much
alike are written down as what differs between them.
"""
