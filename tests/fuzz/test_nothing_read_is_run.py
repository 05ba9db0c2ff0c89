"""No file that is read can run code: safe YAML, tensors without pickle, no eval. Exceptions are listed with their reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("lineage", "trainers", "orchestrator", "tui", "benchmarks", "examples")
MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dbm", "dill", "cloudpickle", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput", "yaml.unsafe_load"}
CALLS |= {"yaml.full_load", "yaml.load_all", "yaml.full_load_all", "runpy.run_path", "importlib.import_module"}
EXECUTED = {
    ("trainers/template.py", "Config.fromfile"): "a template is Python of the user's, as the README says in bold",
    ("trainers/detection.py", "import_modules_from_strings"): "of the template's custom_imports",
    ("trainers/timing.py", "import_modules_from_strings"): "the same",
}
RUN = {name for _, name in EXECUTED}


def name_of(node: ast.expr) -> str:
    """Dotted name of what is called, as far as it is one."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def has(call: ast.Call, name: str, value: object) -> bool:
    return any(
        word.arg == name and isinstance(word.value, ast.Constant) and word.value.value is value
        for word in call.keywords
    )


def safe_loaders(tree: ast.Module) -> set[str]:
    """Names of a module's loaders that can make plain values only."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {"yaml.SafeLoader", "yaml.CSafeLoader"}
    return bases | {one.name for one in classes if [name_of(base) for base in one.bases] == ["yaml.SafeLoader"]}


def offences(source: str) -> Iterator[str]:
    """What in a module's source could run what it reads."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            yield from (name for name in names if name.split(".")[0] in MODULES)
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        loader = next((word.value for word in node.keywords if word.arg == "Loader"), (node.args[1:] or [None])[0])
        unsafe = {
            "yaml.load": loader is None or name_of(loader) not in safe_loaders(tree),
            "torch.load": not has(node, "weights_only", True),
            "np.load": has(node, "allow_pickle", True),
            "numpy.load": has(node, "allow_pickle", True),
        }
        if name in CALLS | RUN or unsafe.get(name) or has(node, "shell", True):
            yield name


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_that_is_read_is_run(package: str):
    found = {
        (str(file.relative_to(ROOT)), offence)
        for file in (ROOT / package).rglob("*.py")
        for offence in offences(file.read_text(encoding="utf-8"))
    }
    assert found == {place for place in EXECUTED if place[0].startswith(f"{package}/")}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["pickle"]),
        ("from marshal import loads", ["marshal"]),
        ("yaml.load(text)", ["yaml.load"]),
        ("yaml.load(text, yaml.Loader)", ["yaml.load"]),
        ("yaml.load(text, Loader=yaml.SafeLoader)", []),
        ("class L(yaml.SafeLoader): ...\nyaml.load(text, L)", []),
        ("class L(yaml.FullLoader): ...\nyaml.load(text, L)", ["yaml.load"]),
        ("torch.load(file)", ["torch.load"]),
        ("torch.load(file, 'cpu', weights_only=False)", ["torch.load"]),
        ("torch.load(file, 'cpu', weights_only=True)", []),
        ("def f(): eval(text)", ["eval"]),
        ("model.eval(); re.compile(text)", []),
        ("subprocess.run(text, shell=True)", ["subprocess.run"]),
    ],
)
def test_the_look_finds_what_it_looks_for(source: str, found: list[str]):
    assert list(offences(source)) == found
