"""Index of a store's runs, so that listing them does not open every folder.

The index is a cache of the folders. It is built again if it is missing, damaged or of another version. Before
the state of a run changes, the run is marked, and its folder is read until the mark is removed; a process
that dies in between leaves no wrong entry behind.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VERSION = 1
BUSY_TIMEOUT = 20.0  # seconds to wait for another process that writes
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS runs;
    CREATE TABLE runs (id TEXT PRIMARY KEY, digest TEXT, state TEXT, config TEXT, changing INTEGER DEFAULT 0);
    CREATE INDEX by_digest ON runs (digest);
    PRAGMA user_version = {VERSION};
    COMMIT;
"""
# what was read is perhaps older than an entry that exists by now
_ADD = "INSERT INTO runs VALUES (:id, :digest, :state, :config, 0) ON CONFLICT (id) DO NOTHING"
_CHANGED = """
    INSERT INTO runs VALUES (:id, :digest, :state, :config, 0) ON CONFLICT (id) DO UPDATE SET
    digest = :digest, state = :state, config = :config, changing = max(0, changing - 1)
"""


@dataclass(frozen=True)
class Entry:
    """The texts of a run's state and config, and the config's digest."""

    id: str
    digest: str
    state: str
    config: str


class RunIndex:
    """The index of one store, for any number of threads and processes.

    If the database cannot be written, as in a read-only store, the folders are read instead.

    Parameters
    ----------
    path : Path
        The SQLite database.
    names : f() -> set of str
        Ids of the existing runs.
    read : f(id) -> Entry or None
        Reads a run's folder; None if it cannot be read.
    """

    def __init__(
        self, path: Path, names: Callable[[], set[str]], read: Callable[[str], Entry | None]
    ) -> None:
        self.path, self.names, self.read = path, names, read
        self._threads = threading.local()

    def entries(self) -> list[Entry]:
        """All runs, in no order."""
        names = self.names()
        try:
            return self._entries(names)
        except sqlite3.Error:
            return [entry for name in names if (entry := self.read(name)) is not None]

    def find(self, digest: str) -> list[Entry]:
        """The runs of a config."""
        try:
            ((count,),) = self._run("SELECT count(*) FROM runs")
            if count == len(self.names()):
                found = self._run(
                    "SELECT id, digest, state, config, changing FROM runs WHERE digest = ?", digest
                )
                return [entry for row in found if (entry := self._checked(row)) is not None]
        except sqlite3.Error:
            pass  # damaged or unavailable, which `entries` handles
        return [entry for entry in self.entries() if entry.digest == digest]

    @contextmanager
    def changing(self, run_id: str) -> Iterator[None]:
        """Mark the run during a change, so that its folder is read; update its entry afterwards."""
        with contextlib.suppress(sqlite3.Error):
            self._run("UPDATE runs SET changing = changing + 1 WHERE id = ?", run_id)
        yield
        with contextlib.suppress(sqlite3.Error):
            self._put_changed(run_id)

    def _entries(self, names: set[str]) -> list[Entry]:
        rows = self._run("SELECT id, digest, state, config, changing FROM runs")
        known = {row[0] for row in rows}
        if known - names:
            self._many("DELETE FROM runs WHERE id = ?", [(name,) for name in known - names])
        if names - known:
            found = [entry for name in names - known if (entry := self.read(name)) is not None]
            self._many(_ADD, [asdict(entry) for entry in found])
            rows = self._run("SELECT id, digest, state, config, changing FROM runs")
        return [entry for row in rows if row[0] in names and (entry := self._checked(row)) is not None]

    def _checked(self, row: tuple[Any, ...]) -> Entry | None:
        return self.read(row[0]) if row[4] else Entry(*row[:4])

    def _put_changed(self, run_id: str) -> None:
        """Update the entry of a run that has changed.

        The folder is read within the transaction, so that of two changes the later entry is the later state.
        """

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                entry = self.read(run_id)
                if entry is not None:
                    connection.execute(_CHANGED, asdict(entry))

        self._with(write)

    # ---- the database

    def _run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._with(lambda connection: connection.execute(sql, values).fetchall())

    def _many(self, sql: str, rows: list[Any]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(sql, rows)

        self._with(write)

    def _with(self, execute: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            return execute(self._connection())
        except sqlite3.OperationalError:
            raise  # read-only or busy; the file itself is sound
        except sqlite3.DatabaseError:
            for ending in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            return execute(self._connection())

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection to the current file."""
        known = getattr(self._threads, "known", None)
        if known is not None and known[1] == self._file():
            return known[0]
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -64")  # kB; small, because each thread has its own
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            connection.executescript(_SCHEMA)
        self._threads.known = (connection, self._file())
        return connection

    def _file(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except OSError:
            return None
