"""Declarations of the schema's types, for people and type checkers: stub files only.

Handlers are annotated with these.  The classes are made by a profile's `Reader` from its
table of types when a value is read (see `qmpd.qapi.runtime.types`), so none of these
modules exists at run time: import them under ``TYPE_CHECKING``.
"""
