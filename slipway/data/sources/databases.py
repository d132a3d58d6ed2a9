"""Read tables from a database through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.arrow_columns import ArrowConverter
from slipway.data.sources.source_url import SourceUrl

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy

CONNECT_SECONDS = 10
# Drivers that Slipway depends on.
DRIVERS = {
    "mariadb": "mysql+pymysql",
    "mysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
# Packages of other drivers, by scheme or by missing module.
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
# SQLAlchemy's names of dialects that sqlglot names differently.
DIALECTS = {
    "awsathena": "athena",
    "mariadb": "mysql",
    "mssql": "tsql",
    "postgresql": "postgres",
    "teradatasql": "teradata",
}
CONNECT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "postgres": {"connect_timeout": CONNECT_SECONDS, "application_name": "slipway"},
    "mysql": {"connect_timeout": CONNECT_SECONDS, "charset": "utf8mb4"},
}
# The drivers' type codes of texts, whose order can depend on a collation.
TEXT_TYPES = {"postgres": {19, 25, 1042, 1043}, "mysql": {252, 253, 254}}
# Use UTC, and read one snapshot of all tables while the source is open.
SESSION_STATEMENTS = {
    "postgres": [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET TIME ZONE 'UTC'",
    ],
    "mysql": ["SET time_zone = '+00:00'", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"],
    "sqlite": ["BEGIN"],
    # By default MariaDB joins tables without an index by nested loops over all rows.
    "mariadb": [
        "SET join_cache_level = 4",
        "SET join_buffer_size = 33554432",
        "SET join_buffer_space_limit = 268435456",
    ],
    "snowflake": ["ALTER SESSION SET TIMEZONE = 'UTC'"],
}


class SqliteConnection(sqlite3.Connection):
    """SQLite connection with the built-in FLOOR; SQLAlchemy's replacement raises for NULL."""

    def create_function(self, name: str, *arguments: Any, **options: Any) -> None:
        """Register a function, except FLOOR."""
        if name != "floor":
            super().create_function(name, *arguments, **options)


class SqlAlchemyEngine:
    """One connection to a database.

    Parameters
    ----------
    connection : Connection
    dialect : str
    redacted : str
    """

    def __init__(self, connection: sqlalchemy.Connection, dialect: str, redacted: str) -> None:
        self.dialect = dialect
        self._connection = connection
        self._redacted = redacted

    def tables(self) -> list[str]:
        """Return the names of all tables and views."""
        import sqlalchemy

        with self._errors():
            inspector = sqlalchemy.inspect(self._connection)
            return [*inspector.get_table_names(), *inspector.get_view_names()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows."""
        with self._errors():
            return [tuple(row) for row in self._execute(sql)]

    def text_columns(self, sql: str) -> list[str]:
        """Return the names of text columns, whose order can depend on a collation."""
        kinds = TEXT_TYPES.get(self.dialect)
        if kinds is None:
            return []
        with self._errors():
            result = self._execute(f"SELECT * FROM ({sql}) AS result LIMIT 0")  # noqa: S608
            described = result.cursor.description if result.cursor is not None else []
            names = [name for name, kind, *_ in described if kind in kinds]
            result.close()
            return names

    def batches(self, sql: str, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield all rows in batches; the server keeps the unread rows."""
        import sqlalchemy

        with self._errors():
            result = self._execute(sql, stream_results=True, max_row_buffer=rows)
            columns = ArrowConverter([*result.keys()])
            cursor: Any = result.cursor
            try:
                for part in result.partitions(rows):
                    yield columns.batch(part)
            except sqlalchemy.exc.DBAPIError as error:
                if error.connection_invalidated and self.dialect == "mysql":
                    # Otherwise PyMySQL waits for the unread rows and prints a warning.
                    cursor._result.unbuffered_active = False
                raise

    def _execute(self, sql: str, **options: Any) -> sqlalchemy.CursorResult[Any]:
        """Run a statement without parameters, so that % has no special meaning."""
        options["no_parameters"] = True
        return self._connection.exec_driver_sql(sql, execution_options=options)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert database errors to one-line messages."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except DBAPIError as error:
            reason = _first_lines(error.orig or error)
            if error.connection_invalidated:
                raise SlipwayError(
                    f"lost the connection to {self._redacted} while reading: {reason}; run again"
                ) from error
            raise SlipwayError(f"{self._redacted} rejected the query: {reason}") from error
        except SQLAlchemyError as error:
            raise SlipwayError(f"{self._redacted}: {_first_lines(error)}") from error


@contextmanager
def open_database(source_url: SourceUrl) -> Iterator[SqlAlchemyEngine]:
    """Connect to a database.

    Parameters
    ----------
    source_url : SourceUrl
        The URL in SQLAlchemy's form.

    Yields
    ------
    SqlAlchemyEngine

    Raises
    ------
    SlipwayError
        The driver is not installed, or the connection fails.
    """
    engine = _create_engine(source_url)
    from sqlalchemy.exc import SQLAlchemyError

    dialect = _sqlglot_dialect(engine.dialect.name)
    try:
        try:
            connection = engine.connect()
            is_mariadb = getattr(engine.dialect, "is_mariadb", False)
            extra = SESSION_STATEMENTS["mariadb"] if is_mariadb else []
            for statement in (*extra, *SESSION_STATEMENTS.get(dialect, [])):
                connection.exec_driver_sql(statement)
        except SQLAlchemyError as error:
            reason = _first_lines(getattr(error, "orig", None) or error)
            fix = "check host, user, password and database"
            raise SlipwayError(
                f"cannot connect to {source_url.redacted}: {reason}; {fix}"
            ) from error
        with connection:
            yield SqlAlchemyEngine(connection, dialect, source_url.redacted)
    finally:
        engine.dispose()


def _create_engine(source_url: SourceUrl) -> sqlalchemy.Engine:
    """Create an SQLAlchemy engine, or raise an error that names the missing package."""
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError as error:
        raise SlipwayError("databases need SQLAlchemy: pip install 'slipway[train]'") from error
    scheme = source_url.scheme
    url = source_url.url.replace(scheme, DRIVERS.get(scheme, scheme), 1)
    base = scheme.partition("+")[0]
    try:
        parsed = sqlalchemy.make_url(url)
        if base == "sqlite":
            parsed = _read_only(parsed, source_url.redacted)
        arguments = CONNECT_ARGUMENTS.get(
            DIALECTS.get(base, base), {"factory": SqliteConnection} if base == "sqlite" else {}
        )
        arguments = {key: value for key, value in arguments.items() if key not in source_url.query}
        return sqlalchemy.create_engine(parsed, connect_args=arguments)
    except NoSuchModuleError as error:
        raise SlipwayError(_unknown_scheme(scheme, base)) from error
    except ImportError as error:
        package = PACKAGES.get(error.name or "", PACKAGES.get(base, error.name))
        raise SlipwayError(f"{scheme}:// needs a driver: pip install {package!r}") from error
    except (ArgumentError, ValueError, TypeError) as error:
        raise SlipwayError(
            f"{source_url.redacted} is not a database URL: {_first_lines(error)}"
        ) from error


def _unknown_scheme(scheme: str, base: str) -> str:
    """Return the error message for a scheme that SQLAlchemy does not know."""
    if base in PACKAGES:
        return f"{base}:// needs a driver: pip install {PACKAGES[base]!r}"
    kinds = "a path, s3, gs, az, sqlite, postgresql, mysql, mongodb, hive, spark, sc"
    return f"unknown source {scheme}://; use {kinds}, or install an SQLAlchemy dialect"


def _read_only(url: sqlalchemy.URL, redacted: str) -> sqlalchemy.URL:
    """Make a SQLite URL read-only; SQLite would create a missing file."""
    from pathlib import Path

    if url.database is None or not Path(url.database).is_file():
        raise SlipwayError(f"no such file {redacted}; write an absolute path with four slashes")
    return url.set(database=f"file:{url.database}").update_query_dict({"mode": "ro", "uri": "true"})


def _sqlglot_dialect(name: str) -> str:
    """Return sqlglot's name of an SQLAlchemy dialect."""
    from sqlglot.dialects.dialect import Dialect

    dialect = DIALECTS.get(name, name)
    if Dialect.get(dialect) is None:
        raise SlipwayError(f"cannot translate queries for {name}: sqlglot has no such dialect")
    return dialect


def _first_lines(error: BaseException) -> str:
    """Return the first lines of a driver's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) or type(error).__name__
