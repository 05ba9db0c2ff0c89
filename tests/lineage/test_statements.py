"""Where statements end in a text is what DuckDB sees, whatever stands in strings and comments."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lineage.statements import is_complete, split


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
