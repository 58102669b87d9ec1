"""The version of qmpd."""

__version__ = "0.1.0"
