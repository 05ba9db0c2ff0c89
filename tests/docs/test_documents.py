"""What the documents promise holds: their commands run, their links lead somewhere, their tables are complete."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from orchestrator.general import General
from orchestrator.live import reference
from orchestrator.live.connect import statements
from orchestrator.live.endpoint import Quack
from orchestrator.sections import Step

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = ROOT / "docs/decisions"
FOLDERS = [path for path in sorted(ROOT.iterdir()) if path.is_dir() and path.name[0] != "." and path.name != "runs"]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *(document for folder in FOLDERS for document in sorted(folder.rglob("*.md")))]

Key = tuple[str, Any]  # dotted name, default (REQUIRED: none)
REQUIRED = "required"


def console_blocks() -> list[tuple[str, str]]:
    """(command, output shown) of the README's console blocks; a line that begins with ``> `` continues a command."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
    parts = re.findall(r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n?)*)", blocks, re.MULTILINE)
    return [(command.replace("\n> ", "\n"), output) for command, output in parts]


COMMANDS = console_blocks()


def spnas_orch(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "200"}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """The README's commands, run one after another in one new folder, as a reader would."""
    folder = tmp_path_factory.mktemp("reader")
    return {command: spnas_orch(command, folder) for command, _ in COMMANDS}


def told(output: str) -> str:
    """An output without what differs from one simulated run to the next: which device a training came to, and when."""
    return re.sub(r"\b(\d+h)?(\d+m)?\d+s\b|\bsim:\d", "*", output.strip())


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[command[:60] for command, _ in COMMANDS])
def test_a_command_of_the_readme_works_and_its_output_is_as_shown(
    results: dict[str, subprocess.CompletedProcess[str]], command: str, shown: str
) -> None:
    result = results[command]
    assert result.returncode == 0, result.stderr
    if shown.strip():
        assert told(result.stdout) == told(shown)


def test_the_console_blocks_are_found_and_train_nothing() -> None:
    assert {command.split()[1] for command, _ in COMMANDS} >= {"init", "check", "start", "status", "sql", "lineage"}
    assert all("--simulate" in command for command, _ in COMMANDS if command.startswith("spnas-orch start"))


def test_every_command_is_named_in_the_readme(tmp_path: Path) -> None:
    listed = spnas_orch("spnas-orch --help", tmp_path).stdout.partition("Commands:")[2]
    commands = re.findall(r"^  ([a-z]\S*)", listed, re.MULTILINE)
    assert len(commands) > 1
    assert [command for command in commands if f"spnas-orch {command}" not in README] == []


def keys_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[FieldInfo, set[str]]]:
    """The keys of a section and of the sections inside it: the field, and its names as users may spell them."""
    for name, field in model.model_fields.items():
        inside = [part for part in (field.annotation, *getattr(field.annotation, "__args__", ())) if is_model(part)]
        if inside:
            yield from keys_of(inside[0], f"{prefix}{name}.")
            continue
        alias = field.validation_alias
        spellings = alias.choices if isinstance(alias, AliasChoices) else [name]
        yield field, {f"{prefix}{spelling}" for spelling in spellings}


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def keys_of_the_program() -> set[Key]:
    found: set[Key] = {("pipeline", REQUIRED)}
    for model, prefix in ((General, "general."), (Step, "")):
        for field, spellings in keys_of(model, prefix):
            default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
            found |= {(spelling, default) for spelling in spellings}
    return found


def keys_of_the_readme() -> list[Key]:
    """Rows of the configuration table; a bold name opens a section, a dash is no value."""
    section, found = "", []
    table = README.partition("## Configuration")[2].partition("\n## ")[0]
    for name, default, _ in re.findall(r"^\| (.*?) \| ?(.*?) ?\| ?(.*?) ?\|$", table, re.MULTILINE)[2:]:
        if bold := re.fullmatch(r"\*\*(.+)\*\*", name):
            section = f"{bold[1]}."
            continue
        value = None if default == "–" else yaml.safe_load(default)
        value = tuple(value) if isinstance(value, list) else value
        found += [(f"{section}{key}", value) for key in re.findall(r"`(\w+)`", name)]
    return found


def test_the_configuration_table_has_every_key_with_its_default_and_no_other() -> None:
    program, readme = keys_of_the_program(), keys_of_the_readme()
    assert len(readme) == len(set(readme))
    assert set(readme) - program == set(), "in the README, but not so in orchestrator/config.py"
    assert program - set(readme) == set(), "in orchestrator/config.py, but not so in the README"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)#]*)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_decision_record_is_in_the_index_once() -> None:
    records = sorted(path.name for path in RECORDS.glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (RECORDS / "README.md").read_text(encoding="utf-8")) == records


def test_the_licence_is_apache_2_in_full() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.strip().startswith("Apache License\n                           Version 2.0, January 2004")
    assert all(f"\n   {number}. " in text for number in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_reference_of_events_is_what_the_types_say() -> None:
    assert (ROOT / "docs" / "events.md").read_text(encoding="utf-8") == reference.document(), "run make docs"
    assert (ROOT / "docs" / "events.schema.json").read_text(encoding="utf-8") == reference.schema(), "run make docs"
    assert json.loads(reference.schema())["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_kind_of_event_and_request_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert [kind.__name__ for kind in reference.kinds()] == re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert set(re.findall(r'"request": "(\w+)"', text)) == {
        *("events", "pause", "continue", "stop", "reignite"),
        "cancel",
        "set",
    }


def test_what_connect_prints_is_as_shown() -> None:
    block = next(block for block in re.findall(r"(?:^    .*\n)+", README, re.MULTILINE) if "INSTALL" in block)
    found = re.search(r"ATTACH '(.*)' AS live \(TOKEN '(.*)'\)", block)
    assert found is not None
    assert block == "".join(f"    {line}\n" for line in statements(Quack(uri=found[1], token=found[2])))
