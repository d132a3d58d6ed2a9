"""Tables in a database, by SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.arrow_columns import Columns
from slipway.data.sources.source_url import SourceUrl

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy

CONNECT_SECONDS = 10
# The drivers that pip installs with Slipway.
DRIVERS = {
    "mariadb": "mysql+pymysql",
    "mysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
# What to install for the others, by the scheme or by the module that is missed.
PACKAGES = {
    "awsathena": "PyAthena[SQLAlchemy]",
    "bigquery": "sqlalchemy-bigquery",
    "clickhouse": "clickhouse-sqlalchemy",
    "databricks": "databricks-sqlalchemy",
    "duckdb": "duckdb-engine",
    "mssql": "pyodbc",
    "MySQLdb": "mysqlclient",
    "oracle": "oracledb",
    "psycopg": "psycopg[binary]",
    "redshift": "sqlalchemy-redshift psycopg2-binary",
    "snowflake": "snowflake-sqlalchemy",
    "teradatasql": "teradatasqlalchemy",
    "trino": "trino[sqlalchemy]",
}
# As sqlglot calls them, where SQLAlchemy has another name.
DIALECTS = {
    "awsathena": "athena",
    "mariadb": "mysql",
    "mssql": "tsql",
    "postgresql": "postgres",
    "teradatasql": "teradata",
}
CONNECT: dict[str, dict[str, Any]] = {
    "postgres": {"connect_timeout": CONNECT_SECONDS, "application_name": "slipway"},
    "mysql": {"connect_timeout": CONNECT_SECONDS, "charset": "utf8mb4"},
}
# The types of texts as the drivers number them, where a language may decide about their order.
TEXTS = {"postgres": {19, 25, 1042, 1043}, "mysql": {252, 253, 254}}
# One time zone, and one state of all tables for as long as the source is open.
BEGIN = {
    "postgres": [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET TIME ZONE 'UTC'",
    ],
    "mysql": ["SET time_zone = '+00:00'", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"],
    "sqlite": ["BEGIN"],
    # Without these MariaDB compares every row of a table that has no index with every other.
    "mariadb": [
        "SET join_cache_level = 4",
        "SET join_buffer_size = 33554432",
        "SET join_buffer_space_limit = 268435456",
    ],
    "snowflake": ["ALTER SESSION SET TIMEZONE = 'UTC'"],
}


class PlainSqlite(sqlite3.Connection):
    """SQLite with its own FLOOR; SQLAlchemy's, in its place, raises for NULL."""

    def create_function(self, name: str, *words: Any, **options: Any) -> None:
        """Add a function, but for one that is there."""
        if name != "floor":
            super().create_function(name, *words, **options)


class SqlAlchemyEngine:
    """One connection to a database.

    Parameters
    ----------
    connection : Connection
    dialect : str
    shown : str
    """

    def __init__(self, connection: sqlalchemy.Connection, dialect: str, shown: str) -> None:
        self.dialect = dialect
        self._connection = connection
        self._shown = shown

    def tables(self) -> list[str]:
        """Name the tables and views that there are."""
        import sqlalchemy

        with self._errors():
            inspector = sqlalchemy.inspect(self._connection)
            return [*inspector.get_table_names(), *inspector.get_view_names()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Give all rows."""
        with self._errors():
            return [tuple(row) for row in self._executed(sql)]

    def texts(self, sql: str) -> list[str]:
        """Name the columns of a result that are texts and sorted in some language."""
        kinds = TEXTS.get(self.dialect)
        if kinds is None:
            return []
        with self._errors():
            result = self._executed(f"SELECT * FROM ({sql}) AS result LIMIT 0")  # noqa: S608
            described = result.cursor.description if result.cursor is not None else []
            names = [name for name, kind, *_ in described if kind in kinds]
            result.close()
            return names

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Give all rows, so many at a time; the server keeps the others."""
        import sqlalchemy

        with self._errors():
            result = self._executed(sql, stream_results=True, max_row_buffer=rows)
            columns = Columns([*result.keys()])
            cursor: Any = result.cursor
            try:
                for part in result.partitions(rows):
                    yield columns.batch(part)
            except sqlalchemy.exc.DBAPIError as error:
                if error.connection_invalidated and self.dialect == "mysql":
                    # Else PyMySQL waits for the other rows, and prints that there are none.
                    cursor._result.unbuffered_active = False
                raise

    def _executed(self, sql: str, **options: Any) -> sqlalchemy.CursorResult[Any]:
        """Run a statement as it is; a % in it is no place for a parameter."""
        options["no_parameters"] = True
        return self._connection.exec_driver_sql(sql, execution_options=options)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say what the database said, in one line."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except DBAPIError as error:
            said = _said(error.orig or error)
            if error.connection_invalidated:
                raise SlipwayError(
                    f"the connection to {self._shown} was lost while reading: {said}; run again"
                ) from error
            raise SlipwayError(f"{self._shown} refused the query: {said}") from error
        except SQLAlchemyError as error:
            raise SlipwayError(f"{self._shown}: {_said(error)}") from error


@contextmanager
def open_database(address: SourceUrl, wanted: Sequence[str]) -> Iterator[SqlAlchemyEngine]:
    """Connect to a database.

    Parameters
    ----------
    address : SourceUrl
        Its URL in SQLAlchemy's form.
    wanted : sequence of str

    Yields
    ------
    SqlAlchemyEngine

    Raises
    ------
    SlipwayError
        The driver is not installed, or the database does not let us in.
    """
    engine = _engine(address)
    from sqlalchemy.exc import SQLAlchemyError

    dialect = _dialect(engine.dialect.name)
    try:
        try:
            connection = engine.connect()
            more = BEGIN["mariadb"] if getattr(engine.dialect, "is_mariadb", False) else []
            for statement in (*more, *BEGIN.get(dialect, [])):
                connection.exec_driver_sql(statement)
        except SQLAlchemyError as error:
            said = _said(getattr(error, "orig", None) or error)
            fix = "check host, user, password and database"
            raise SlipwayError(f"cannot connect to {address.shown}: {said}; {fix}") from error
        with connection:
            yield SqlAlchemyEngine(connection, dialect, address.shown)
    finally:
        engine.dispose()


def _engine(address: SourceUrl) -> sqlalchemy.Engine:
    """Make what connects, or name the package that is missing."""
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as error:
        raise SlipwayError("databases need SQLAlchemy: pip install 'slipway[train]'") from error
    scheme = address.scheme
    url = address.url.replace(scheme, DRIVERS.get(scheme, scheme), 1)
    base = scheme.partition("+")[0]
    try:
        parsed = sqlalchemy.make_url(url)
        if base == "sqlite":
            parsed = _read_only(parsed, address.shown)
        given = CONNECT.get(
            DIALECTS.get(base, base), {"factory": PlainSqlite} if base == "sqlite" else {}
        )
        arguments = {key: value for key, value in given.items() if key not in address.query}
        return sqlalchemy.create_engine(parsed, connect_args=arguments)
    except NoSuchModuleError as error:
        raise SlipwayError(_unknown(scheme, base)) from error
    except ImportError as error:
        package = PACKAGES.get(error.name or "", PACKAGES.get(base, error.name))
        raise SlipwayError(f"{scheme}:// needs a driver: pip install {package!r}") from error
    except (ArgumentError, ValueError, TypeError) as error:
        raise SlipwayError(f"{address.shown} is no URL of a database: {_said(error)}") from error


def _unknown(scheme: str, base: str) -> str:
    """Say what to do about a scheme that SQLAlchemy does not know."""
    if base in PACKAGES:
        return f"{base}:// needs a driver: pip install {PACKAGES[base]!r}"
    kinds = "a path, s3, gs, az, sqlite, postgresql, mysql, mongodb, hive, spark, sc"
    return f"the source's URL begins with {scheme}://, which is none of {kinds}, nor a driver's"


def _read_only(url: sqlalchemy.URL, shown: str) -> sqlalchemy.URL:
    """Open a SQLite file only for reading; SQLite would make a missing one."""
    from pathlib import Path

    if url.database is None or not Path(url.database).is_file():
        raise SlipwayError(f"there is no file {shown}; an absolute path has four slashes")
    return url.set(database=f"file:{url.database}").update_query_dict({"mode": "ro", "uri": "true"})


def _dialect(name: str) -> str:
    """Give sqlglot's name for a dialect of SQLAlchemy."""
    from sqlglot.dialects.dialect import Dialect

    found = DIALECTS.get(name, name)
    if Dialect.get(found) is None:
        raise SlipwayError(f"queries cannot be translated for {name}: sqlglot does not know it")
    return found


def _said(error: BaseException) -> str:
    """Give the first lines of what a driver says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) or type(error).__name__
