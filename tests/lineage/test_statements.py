"""Where statements end in a text is what DuckDB sees, whatever stands in strings and comments."""

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lineage.errors import QueryError
from lineage.statements import is_complete, must_be_select, split


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1;;SELECT 2 -- ;", ["SELECT 1", "SELECT 2 -- ;"]),
        ("SELECT 'é;' AS \"a;b\"; SELECT /* ; */ 2", ["SELECT 'é;' AS \"a;b\"", " SELECT /* ; */ 2"]),
        ("SELECT $$;$$; FROM run;\n-- that was all\n", ["SELECT $$;$$", " FROM run"]),
        ("", []),
        (" ; -- nothing", []),
    ],
)
def test_a_text_is_split_where_its_statements_end(text: str, statements: list[str]) -> None:
    assert split(text) == statements


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1; -- done", True),
        ("SELECT 'é';\n", True),
        ("SELECT 1", False),
        ("SELECT 1; SELECT 2", False),
        ("SELECT ';", False),
        ("SELECT 1 -- ;", False),
        ("SELECT 1 /* ;", False),
        ("", False),
    ],
)
def test_a_text_is_complete_once_its_last_statement_has_ended(text: str, complete: bool) -> None:
    assert is_complete(text) == complete


@given(st.text(alphabet=st.sampled_from(list(";'\"-/*$ é\n\0aSELECT1\\")), max_size=30))
@example("SELECT x'")
def test_no_text_is_too_odd_to_be_split(text: str) -> None:
    assert "".join(split(text)).replace(";", "") in text.replace(";", "") or len(split(text)) > 1
    is_complete(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("PRAGMA database_list", "only SELECT is allowed, found PRAGMA$"),  # which the parser makes a SELECT of
        ("-- which?\npragma table_info('t')", "only SELECT is allowed, found PRAGMA$"),
        ("CALL duckdb_tables()", "only SELECT is allowed, found CALL$"),
        ("EXPLAIN SELECT 1", "only SELECT is allowed, found EXPLAIN$"),
        ("SELECT 1; SELECT 2", "expected one SELECT, found 2 statements$"),
        ("", "expected one SELECT, found 0 statements$"),
        ("PIVOT t ON kind USING count(*)", "PIVOT has to say which values become columns, as in PIVOT"),
        ("FROM (PIVOT t ON kind USING count(*))", "PIVOT has to say which values become columns, as in PIVOT"),
    ],
)
def test_what_is_no_single_select_is_called_what_it_was_called(text: str, found: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (kind VARCHAR)")
        with pytest.raises(QueryError, match=found):
            must_be_select(connection, text)


@pytest.mark.parametrize(
    "text", ["FROM t", "DESCRIBE t", "SUMMARIZE t", "VALUES (1)", "PIVOT t ON kind IN ('a') USING count(*)"]
)
def test_what_answers_and_changes_nothing_is_a_select(text: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (kind VARCHAR)")
        must_be_select(connection, text)
