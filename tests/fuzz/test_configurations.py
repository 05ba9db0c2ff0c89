"""Any file and any override is a configuration, or an error of the user's: soon, and within bounded memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile import VALUES, mutated, mutated_bytes, tries
from hypothesis import example, given
from hypothesis import strategies as st

from lineage.events import RunStarted, from_json, to_json
from orchestrator.config import RunConfig
from orchestrator.config_file import load_config
from orchestrator.errors import ConfigError, UserError
from orchestrator.notices import notices
from orchestrator.preparation import check_limits
from orchestrator.safe_yaml import MAX_BYTES
from orchestrator.sources import given_networks

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "digits" / "sp_nas.yml"
FILES = [EXAMPLE, *sorted((ROOT / "tests" / "fixtures" / "vega").glob("*.yml"))]
GOOD = [yaml.safe_load(file.read_text()) for file in FILES]
SNIPPETS = [
    b"&a [*a]",
    b"<<: *space\n",
    b"<<: {a: 1}\n",
    b"!!python/object/apply:os.system ['touch hostile']",
    b"!!python/name:os.system",
    b"!!binary /w==",
    b"!!set {a, b}",
    b"!!omap [a: 1]",
    b"!!timestamp 2024-99-99",
    b"? [a, b]\n: 1\n",
    b"0x" + b"f" * 5000,
    b"9" * 5000,
    b"1" + b":59" * 3000,
    b"[" * 3000,
    b"{a: " * 500,
    b"---\n",
    b"...\n",
    b"%YAML 9.9\n",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b"*none",
    b"&x",
    b".nan",
    b"1.0e+999",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configurations")
    (folder / "total_list_s.csv").write_text("arch,mAP\nb_11-21-21-21_0-0-0-0,0.5\n")
    return folder


def accepted(folder: Path, content: bytes, overrides: list[str] | None = None) -> RunConfig | None:
    """The configuration, which then survives the log and can be prepared as far as its user's files go; None: refused."""
    path = folder / "c.yml"
    path.write_bytes(content)
    refusal = ""
    try:
        config = load_config(path, overrides or [])
        list(notices(config))
        check_limits(config, given_networks(config, folder, folder / "new", simulate=True), None)
    except UserError as error:
        refusal = str(error)
    assert sorted(one.name for one in folder.iterdir()) == ["c.yml", "total_list_s.csv"]
    assert len(refusal) < 10_000
    if refusal:
        return None
    started = RunStarted(run_id="r", seed=0, simulated=True, slots=1, window=1, config=config.to_mapping())
    read = from_json(to_json(started))
    assert isinstance(read, RunStarted)
    assert RunConfig.model_validate(read.config) == config
    return config


@tries(150)
@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes(folder: Path, content: bytes):
    accepted(folder, content)


@tries(150)
@given(st.sampled_from(GOOD).flatmap(mutated))
def test_values_of_another_kind_at_any_place(folder: Path, raw: Any):
    try:
        text = yaml.dump(raw, allow_unicode=True)
    except (ValueError, UnicodeError):  # what YAML can't write, such as a number of 400 digits in a key
        return
    accepted(folder, text.encode(errors="surrogatepass"))


@tries(150)
@given(
    st.sampled_from([file.read_bytes() for file in FILES]).flatmap(
        lambda text: mutated_bytes(text, st.sampled_from(SNIPPETS))
    )
)
def test_anything_at_any_place_of_the_text(folder: Path, content: bytes):
    accepted(folder, content)


KEYS = st.sampled_from(
    ["general.seed", "general.env", "serial.trainer", "serial.search_space.limits.flops", "pipeline", "serial", "new"]
)


@tries(150)
@given(
    st.lists(
        st.text(max_size=40)
        | st.builds("{}={}".format, KEYS | st.text(max_size=20), st.text(max_size=40) | VALUES.map(repr))
        | st.builds("{}={}".format, KEYS, st.sampled_from(SNIPPETS).map(lambda part: part[:1000].decode("latin-1")))
        | st.builds(lambda key, depth: f"{key}{'.a' * depth}=1", KEYS, st.sampled_from([1, 90, 3000])),
        min_size=1,
        max_size=3,
    )
)
@example([f"general.env{'.a' * 60_000}=1"])
@example(["pipeline=!!set {serial}"])
def test_any_overrides(folder: Path, overrides: list[str]):
    accepted(folder, EXAMPLE.read_bytes(), overrides)


def nested(first: str, more: str, last: str = "") -> str:
    """Each of eight parts holds the one before it nine times."""
    lines = [f"p0: &p0 {first}"]
    lines += [f"p{n}: &p{n} {more.format(', '.join([f'*p{n - 1}'] * 9))}" for n in range(1, 9)]
    return "\n".join([*lines, last])


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (nested("[x, x]", "[{}]"), "with its aliases .* written out it has more than 1048576 characters"),
        (nested("{k: x}", "{{<<: [{}]}}"), "with its aliases .* written out it has more than 1048576 characters"),
        ("a: &a " + "x" * 20_000 + "\nb: [" + "*a, " * 1000 + "]", "written out it has more than"),
        ("a: &a [*a]", "a part that holds itself"),
        ("a: &a {b: {c: *a}}", "a part that holds itself"),
        ("[" * 30_000, "stand too deep inside each other"),
        ("a: 0x" + "f" * 5000, "a whole number of 20000 bits, at most 10000"),
        ("[" + "1," * 20_000 + "]", "expected a mapping"),
        ("? " + "k" * 100_000 + "\n: 1\n? " + "k" * 100_000 + "\n: 2\n", "stands twice"),
        ("pipeline: [a]\n" + "".join(f"{n}: 1\n" for n in range(4_000)), "names 'a' but there is no such section"),
        (EXAMPLE.read_text().replace("seed: 1", "seed: 1\n" + "".join(f"  k{n}: 1\n" for n in range(4_000))), "more"),
        ("pipeline:\n- " + "ŝĝ" * 5000 + "\n? " + "ĝŝ" * 5000 + "\n: 1\n", "there is no such section"),
        ("x" * (MAX_BYTES + 1), "it has 262145 bytes, and at most 256 KiB are read"),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_would_take_for_ever_or_all_memory_is_refused_in_a_readable_message(
    folder: Path, text: str, expected: str
):
    path = folder / "c.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        given_networks(load_config(path), folder, folder / "new", simulate=True)
    assert len(str(caught.value)) < 10_000


def test_a_record_no_file_can_be_is_the_earlier_steps_of_that_name_as_any_path_to_nothing(folder: Path):
    content = EXAMPLE.read_text().replace("total_list_s.csv\n", "d/" * 3000 + "total_list_s.csv\n")
    config = accepted(folder, content.encode())
    assert config is not None
    assert config.source_of("parallel") == "serial"


def test_an_override_is_no_longer_than_a_file_may_be():
    with pytest.raises(ConfigError, match="262145 bytes of YAML, at most 262144 are read") as caught:
        load_config(EXAMPLE, ["general.env=" + "x" * (MAX_BYTES + 1)])
    assert len(str(caught.value)) < 400


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/full", ".", "none", "n" * 5000, "a\0b", "a\nb"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="can't read the configuration"):
        load_config(tmp_path / name)
