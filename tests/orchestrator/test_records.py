"""Search records in CSV: the best network is found whatever the file looks like, or the user hears what is wrong."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.architecture import Genotype
from lineage.cost import cost
from orchestrator.errors import ConfigError
from orchestrator.records import MAX_BYTES, best_of

CODES = [
    "b_11-21-21-21_0-0-0-0",
    "r_111-2111-211111-211_0-0-0-0",
    "x(32x4d)_11-21_1-0",
    "b_1-1_0-0",
    "b_1-1_0-2",
    "r_1-2-1_0-0-0",
]
OURS = ["arch", "worker_id", "pre_arch", "pre_worker_id", "t_start", "t_end", "t_eclapsed", "memory", "fps", "mAP"]


def flops(genotype: Genotype) -> int:
    return cost(genotype, 16, (96, 96), 32).flops


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def best(folder: Path, content: str | bytes) -> tuple[str, float]:
    path = folder / "r.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    genotype, ap = best_of(path, flops)
    return genotype.code, ap


def written(columns: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="x", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


RESULTS = st.lists(st.tuples(st.sampled_from(CODES), st.integers(0, 1000)), min_size=1, max_size=20)


@given(RESULTS, st.permutations(OURS), st.randoms(use_true_random=False))
def test_the_best_is_the_highest_ap_and_the_cheapest_of_equals_in_any_order_of_rows_and_columns(
    folder: Path, results: list[tuple[str, int]], columns: list[str], random: object
):
    rows = [{"arch": code, "mAP": f"{ap / 1000}"} for code, ap in results]
    failed = [{"arch": "b_1-1_0-0", "mAP": text} for text in ("-1", "", "nan", "-1.0", "NaN", " ")]
    shuffled = [*rows, *failed]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    code, ap = best(folder, written(columns, shuffled))
    assert ap == max(ap for _, ap in results) / 1000
    ties = [Genotype.parse(code) for code, found in results if found / 1000 == ap]
    assert flops(Genotype.parse(code)) == min(map(flops, ties))


@given(RESULTS)
def test_percent_and_fractions_name_the_same_network(folder: Path, results: list[tuple[str, int]]):
    fractions = [{"arch": code, "mAP": f"{ap / 1000}"} for code, ap in [*results, ("b_1-1_0-0", 11)]]
    percent = [{"arch": row["arch"], "mAP": f"{float(row['mAP']) * 100}"} for row in fractions]
    code, ap = best(folder, written(OURS, percent))
    assert (code, pytest.approx(ap)) == best(folder, written(OURS, fractions))


def test_other_columns_a_byte_order_mark_and_spaces_do_no_harm(folder: Path):
    content = '\ufeff,mAP , arch,note\r\n0, 0.2 , b_1-1_0-0 ,a\r\n1,0.3,b_11-21-21-21_0-0-0-0,"a\nb",more\r\n2\r\n\r\n'
    assert best(folder, content) == ("b_11-21-21-21_0-0-0-0", 0.3)


def test_a_network_that_breaks_a_limit_is_not_the_best_of_our_records(folder: Path):
    content = "arch,mAP,ruled_out\nb_1-1_0-0,0.2,\nb_11-21-21-21_0-0-0-0,0.3,latency 23.1 > 20\n"
    assert best(folder, content) == ("b_1-1_0-0", 0.2)


def test_a_failed_training_needs_no_code(folder: Path):
    assert best(folder, "arch,mAP\n?,-1\nb_1-1_0-0,0.1\n") == ("b_1-1_0-0", 0.1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "expected the columns of a total_list_.*at least arch and mAP, found 'nothing'"),
        ("arch,ap\nb_1-1_0-0,0.1\n", "found 'arch, ap'"),
        ("arch,mAP\n", "names no trained network"),
        ("arch,mAP\nb_1-1_0-0,-1\nb_1-1_0-0,\nb_1-1_0-0,nan\n", "names no trained network"),
        ("arch,mAP\nb_1-1_0-0,0.1\nresnet50,0.2\n", r"line 3: arch 'resnet50' is no genotype code"),
        ("arch,mAP\nb_1-1_0-0,good\n", r"line 2: mAP 'good'; expected a number from 0 to 1, or to 100"),
        ("arch,mAP\nb_1-1_0-0,inf\n", "line 2: mAP 'inf'"),
        ("arch,mAP\nb_1-1_0-0,101\n", "line 2: mAP '101'"),
        ("arch,mAP\n" + "x" * 200_000 + ",0.1\n", "can't read .* as a search record .*field larger than field limit"),
        ("arch,mAP\n" + "x" * 100_000 + ",0.1\n", "line 2: arch 'xxx"),
        (b"arch,mAP\n\xff\xfe,0.1\n", "can't read .* as a search record .CSV, UTF-8."),
        (b"\0\0\0", "no search record"),
        (b"PAR1" + bytes(range(256)), "can't read|no search record"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_record_is_refused_in_one_readable_message(folder: Path, content: str | bytes, expected: str):
    with pytest.raises(ConfigError, match=expected) as caught:
        best(folder, content)
    assert len(str(caught.value)) < 600


def test_a_file_that_no_search_can_have_written_is_not_even_read(folder: Path):
    path = folder / "huge.csv"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ConfigError, match=r"can.t read .*: it has 67108865 bytes, and at most 64 MiB are read"):
        best_of(path, flops)


@pytest.mark.parametrize("name", ["none.csv", "."])
def test_a_file_that_can_not_be_opened_is_named(folder: Path, name: str):
    with pytest.raises(ConfigError, match=r"can't read .* as a search record"):
        best_of(folder / name, flops)


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.lists(st.text(alphabet='arch,mAP\n\r"0.1b_- -\0', max_size=40)).map(lambda lines: "\n".join(lines).encode()),
        st.tuples(st.text(), st.text()).map(lambda row: f"arch,mAP\n{row[0]},{row[1]}\n".encode()),
        st.tuples(st.sampled_from(CODES), st.text()).map(lambda row: f"mAP,arch\n{row[1]},{row[0]}\n".encode()),
        st.floats().map(lambda ap: f"mAP,arch\n{ap},b_1-1_0-0\n".encode()),
    )
)
def test_no_file_leads_to_anything_but_a_network_or_an_error_of_the_users(folder: Path, content: bytes):
    try:
        code, ap = best(folder, content)
    except ConfigError:
        return
    assert Genotype.parse(code).code == code
    assert 0 <= ap <= 1
