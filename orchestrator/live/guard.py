"""What others may ask of a database that is served: SELECTs over its tables, and nothing that reaches beyond them.

By itself a served DuckDB lets everyone who has the token write, read files, and serve more. `close` refuses every statement
that is no SELECT as DuckDB's own parser sees it, every table function but a few, and every function with an effect; then it
locks the configuration. It must not know what is in the tables.
"""

from __future__ import annotations

import duckdb

GUARD = "is_allowed"
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
    "generate_subscripts",
    "json_each",
    "json_tree",
    "pragma_table_info",
    "range",
    "repeat",
    "unnest",
)
"""Table functions that read nothing but their arguments or the catalog."""

EFFECTS = ("currval", "getenv", "nextval", "setval", "write_log", "query", "query_table")
"""Functions that change something, tell of the process, or run a text as SQL."""

_REFUSED = """
SELECT DISTINCT lower(function_name) FROM duckdb_functions()
WHERE function_type IN ('table', 'pragma', 'table_macro') AND internal AND NOT list_contains(?, lower(function_name))
   OR list_contains(?, lower(function_name))
   OR starts_with(lower(function_name), 'quack')
"""


def close(connection: duckdb.DuckDBPyConnection, memory_bytes: int) -> None:
    """Let a database answer SELECTs alone, from now on for ever, with so much memory. Extensions must be loaded before."""
    refused = connection.execute(_REFUSED, [list(TABLE_FUNCTIONS), list(EFFECTS)]).fetchall()
    names = ", ".join(f"'{name}'" for (name,) in sorted(refused))
    parsed = "json_serialize_sql(statement::VARCHAR)"
    connection.execute(
        f"""
        CREATE MACRO {GUARD}(session, statement) AS coalesce(
            json_extract_string({parsed}, '$.error') = 'false'
            AND NOT list_has_any(
                list_transform(json_extract_string({parsed}, '$..function_name'), lambda name: lower(name)), [{names}]
            ),
            false
        )"""
    )
    connection.execute(f"SET memory_limit = '{memory_bytes}B'")
    connection.execute("SET max_temp_directory_size = '0B'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET GLOBAL quack_authorization_function = '{GUARD}'")
    connection.execute("SET lock_configuration = true")
