"""What the documents say exists."""

import re
import shlex
import tomllib
from pathlib import Path

from forking import Process

from lt_ray.cycle.editing import keys

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = re.findall(r"\$ python (sweeps/(?:[^\\\n]|\\\n)*)", README)
RUN_BY = {"--plan", "--name", "--local", "--address", "--gpus-per-trial", "--storage", "--tracking-uri", "--data-dir"}
"""Options that change no sweep"""


def test_every_option_of_a_command_in_readme_exists(tmp_path):
    """Each `--option` after a sweep script is one of its options, each `--set` key a field of a cycle."""
    assert len(COMMANDS) > 20
    process = Process(["sweeps/imdb_lt.py", "--help"], tmp_path / "told.log")
    assert process.wait() == 0, process.told
    for command in COMMANDS:
        for option in re.findall(r"--[a-z-]+", command.partition("#")[0]):
            assert option in process.told, option
    settings = re.findall(r"--set '?([a-z_.]+)=", README + CONTRIBUTING)
    assert len(settings) >= 5
    unknown = set(settings) - set(keys())
    assert unknown == {"training.epoch"}, "README shows one mistake on purpose"


def test_readmes_sweeps_are_not_in_each_others_way():
    """Typed one after the other, no sweep of README has the name of another one: that would be refused."""
    found: dict[str, set[frozenset[str]]] = {}
    for command in COMMANDS:
        words = shlex.split(command, comments=True)
        if "training.epoch=5" in words:  # the mistake on purpose
            continue
        given = {word: words[place + 1 : place + 2] for place, word in enumerate(words) if word.startswith("--")}
        named = given.get("--name") or [words[0], "--toy" in given, given.get("--task"), given.get("--model")]
        asked = frozenset(f"{word} {value}" for word, value in given.items() if word not in RUN_BY)
        found.setdefault(str(named), set()).add(asked)
    assert len(found) > 12
    assert {name: asked for name, asked in found.items() if len(asked) > 1} == {}


def test_the_python_example_runs(tmp_path):
    """README's example, run as it stands, yields three epochs or more and a result for each of its four rounds."""
    section = README[README.index("## From Python") :]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    process = Process([str(tmp_path / "example.py")], tmp_path / "told.log", folder=tmp_path)
    assert process.wait() == 0, process.told
    assert process.told.count("sparsity=") == 4


def test_every_make_target_in_the_documents_exists():
    """`make X` in README and CONTRIBUTING is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", README + CONTRIBUTING))
    assert {"demo", "test", "check", "slow", "bench"} <= named <= targets


def test_every_room_is_in_the_table():
    """CONTRIBUTING's table has a line for each room of lt_ray/, in the order of the import contract, and no other."""
    named = re.findall(r"^\| `(\w+)/` \|", CONTRIBUTING, re.MULTILINE)
    there = {path.parent.name for path in (ROOT / "lt_ray").glob("*/__init__.py")}
    assert set(named) == there
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert named == [room for layer in layers for room in layer.split(" | ") if room != "errors"]


def test_every_citation_of_methods_names_one_of_its_sections():
    """Whatever code, tests or published tables cite as `methods §n` is a section of docs/methods.md."""
    sections = set(re.findall(r"^## (\d)\. ", (ROOT / "docs" / "methods.md").read_text(), re.MULTILINE))
    folders = ("lt_ray/**/*.py", "tests/**/*.py", "reports/published/*")
    texts = [path.read_text() for folder in folders for path in ROOT.glob(folder)]
    cited = {section for text in texts for section in re.findall(r"methods(?:\.md)? §(\d)", text)}
    assert {"2", "3", "4"} <= cited <= sections


def test_every_link_between_documents_leads_somewhere():
    """Each relative link of a Markdown document outside generated reports names a file that is there."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "reports" / "published" / "README.md"]
    links = [(path, link) for path in documents for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())]
    assert len(links) >= 8
    assert not [(path.name, link) for path, link in links if not (path.parent / link).exists()]
