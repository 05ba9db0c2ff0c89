"""What others may ask of a database that is served: SELECTs over its tables, and nothing that reaches beyond them.

By itself a served DuckDB lets everyone who has the token write, read files, and serve more. `close` lets through what
DuckDB's own parser sees as SELECT, if each function, table function and table in it is one of those listed here or was made
in the database before; what is not known is refused. Then it locks the configuration. It must not know what the tables hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from string import Template

import duckdb

GUARD = "answered"
MAX_STATEMENT_BYTES = 100_000  # a longer one is not even parsed

TABLE_FUNCTIONS = (
    "duckdb_columns",
    "duckdb_constraints",
    "duckdb_databases",
    "duckdb_functions",
    "duckdb_indexes",
    "duckdb_schemas",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
    "generate_series",
    "json_each",
    "json_tree",
    "pragma_table_info",
    "range",
    "repeat",
    "unnest",
)
"""Table functions that read nothing but their arguments or the catalog."""

SYSTEM_VIEWS = (
    "columns",
    "duckdb_columns",
    "duckdb_constraints",
    "duckdb_databases",
    "duckdb_indexes",
    "duckdb_schemas",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
    "key_column_usage",
    "schemata",
    "sqlite_master",
    "table_constraints",
    "tables",
    "views",
)
"""Views that read nothing but the catalog, whatever their schema."""

SHOWN = ("", '"databases"', '"schemas"', '"tables"', "__show_tables_expanded")
"""What the parser puts in the place of a table for SHOW and DESCRIBE."""

REPEATABLE = ("CONSISTENT", "CONSISTENT_WITHIN_QUERY")
"""Stability of scalar functions that have no effect."""

HARMLESS = ("error", "gen_random_uuid", "random", "uuid")
"""Scalar functions of another stability that have none either."""

TELLING = ("current_setting", "get_block_size", "getvariable", "json_serialize_plan", "quack_uri_parser")
"""Functions that pass for repeatable, but look at the configuration or at what lies beyond the tables."""

_FUNCTIONS = """
    SELECT function_name FROM duckdb_functions()
    WHERE (function_type = 'scalar' AND list_contains($repeatable, stability) OR function_type = 'aggregate'
        OR function_type = 'macro' AND schema_name = 'main')
    AND NOT starts_with(function_name, '__') AND NOT list_contains($telling, function_name)
"""
_MACROS = "SELECT function_name FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal"
_RELATIONS = """
    SELECT table_name, internal FROM duckdb_tables() UNION ALL SELECT view_name, internal FROM duckdb_views()
"""


_GUARD = Template("""
CREATE MACRO named(tree, path) AS list_transform(json_extract_string(tree, path), lambda name: lower(name));
CREATE MACRO lacking(names, known) AS list_filter(names, lambda name: NOT list_contains(known, name));
CREATE MACRO unknown(tree) AS
    lacking(named(tree, '$$..function_name'), $functions)
    || lacking(named(tree, '$$..function.function_name'), $sources)
    || lacking(lacking(named(tree, '$$..table_name'), $tables), lacking(named(tree, '$$..cte_map.map[*].key'), $hidden));
CREATE MACRO failing(names) AS format(
    'SELECT error(''refused: {} is not known here, where SELECTs on the tables are answered and nothing else'')',
    replace(left(array_to_string(list_distinct(names), ', '), 200), '''', '''''')
);
CREATE MACRO readable(statement) AS
    CASE WHEN strlen(statement) <= $max_bytes AND NOT contains(statement, chr(0)) THEN statement END;
CREATE MACRO is_select(tree) AS
    json_extract_string(tree, '$$.error') = 'false' AND json_array_length(tree, '$$.statements') = 1;
CREATE MACRO $guard(session, statement) AS CASE WHEN its_turn() THEN list_transform(
    [json_serialize_sql(readable(statement::VARCHAR))],
    lambda tree: CASE WHEN is_select(tree) THEN list_transform(
        [unknown(tree)],
        lambda names: CASE WHEN names = [] THEN statement::VARCHAR ELSE failing(names) END
    )[1] END
)[1] END
""")
"""The function that is asked about each statement: its answer is run instead, or the statement refused (NULL).

One that is no SELECT gets NULL, since quack takes anything else as leave to append. A SELECT that names what is not known
becomes one that fails with the name. (Lists of one hold what would be computed again for each mention.)
"""


def close(connection: duckdb.DuckDBPyConnection, turn: Callable[[], bool]) -> None:
    """Let a database answer SELECTs alone, from now on for ever; all else but `limit_memory` is refused.

    Extensions have to be loaded before, and what is to be asked made: tables, views, macros. `turn` is called before each
    statement of a client, in a thread of the server; it returns once the statement may be looked at, and if so, true.
    """
    connection.create_function("its_turn", turn, [], "BOOLEAN", side_effects=True)
    _make_guard(connection)
    connection.execute("SET max_temp_directory_size = '0B'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET GLOBAL quack_authorization_function = '{GUARD}'")
    connection.execute("SET allowed_configs = ['memory_limit']")
    connection.execute("SET lock_configuration = true")


def limit_memory(connection: duckdb.DuckDBPyConnection, limit_bytes: int) -> None:
    """Let tables and queries together have so much."""
    connection.execute(f"SET memory_limit = '{limit_bytes}B'")


def _make_guard(connection: duckdb.DuckDBPyConnection) -> None:
    choice = {"repeatable": REPEATABLE, "telling": TELLING}
    functions = [*HARMLESS, *_column(connection.execute(_FUNCTIONS, choice).fetchall())]
    sources = [*TABLE_FUNCTIONS, *_column(connection.execute(_MACROS).fetchall())]
    relations = connection.execute(_RELATIONS).fetchall()
    tables = [*SHOWN, *SYSTEM_VIEWS, *(name for name, is_internal in relations if not is_internal)]
    hidden = {name for name, _ in relations} - set(tables)
    connection.execute(
        _GUARD.substitute(
            functions=_listed(functions + sources),
            sources=_listed(sources),
            tables=_listed(tables),
            hidden=_listed(hidden),
            max_bytes=MAX_STATEMENT_BYTES,
            guard=GUARD,
        )
    )


def _column(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [name for name, *_ in rows]


def _listed(names: Iterable[str]) -> str:
    """A list of names in lower case, written in a way that is read fast."""
    lines = "\n".join(sorted({name.lower() for name in names}))
    return f"string_split('{lines.replace(chr(39), chr(39) * 2)}', chr(10))"
