"""qmpd-storage-daemon: the options of the storage daemon."""
