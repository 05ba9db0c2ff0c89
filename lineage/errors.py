"""Errors of this package, in one tree.

    LineageError
    ├── GenotypeError         a code or a change of it that is no network (lineage.architecture)
    ├── UnknownCandidate      a run has no candidate of that id
    ├── NoSuchMoment          a run has no event of that number or as early as that time, or it is neither
    └── StoreError            the event store can't do what it was asked to
        ├── StoreNotFound     there is no store at that path
        ├── StoreExists       a store would overwrite a file
        ├── StoreDamaged      its files are not as they were written, or not of one moment
        ├── StoreEmpty        its making was cut off: nothing was ever recorded, as far as the files say
        ├── StoreIncomplete   a table is missing, which can be made anew from the log
        ├── StoreLocked       another process or object has the store open for writing
        ├── StoreFull         there is no room on the disk
        ├── StoreTooNew       the store was made by a later version of this program
        ├── StoreTooOld       the store was made by an earlier version and can't be changed as it is opened
        └── QueryError        a query is not a single SELECT, or the database refused it

Driver errors become these in `lineage.database` and nowhere else.
"""

from __future__ import annotations

from lineage.architecture import LineageError


class StoreError(LineageError):
    """The event store can't do what it was asked to; the message says what was tried and what was found."""


class StoreNotFound(StoreError):
    """There is no store at the path."""


class StoreExists(StoreError):
    """A file is already where a new store should be made."""


class StoreDamaged(StoreError):
    """The store's files are not as they were written, or not of one moment; the message says what to restore."""


class StoreEmpty(StoreError):
    """The database file has no tables: killed as it was made, or without the write-ahead log that held them."""


class StoreIncomplete(StoreError):
    """A table is missing; opened with `remake`, the store has all of them again."""


class StoreLocked(StoreError):
    """The store is open for writing elsewhere."""


class StoreFull(StoreError):
    """There is no room on the disk; the same append may succeed once there is."""


class StoreTooNew(StoreError):
    """The store was made by a later version of this program."""


class StoreTooOld(StoreError):
    """The store was made by an earlier version of this program, and was not opened for writing."""


class QueryError(StoreError):
    """A query is not a single SELECT, or the database refused it."""


class UnknownCandidate(LineageError):
    """A run has no candidate of that id."""


class NoSuchMoment(LineageError):
    """What was named is no moment of the run."""
