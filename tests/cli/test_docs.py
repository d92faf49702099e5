"""The pages are run: README and tutorial as they stand, and the tables of errors and attacks against what is there."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from propolis.cli.main import cli
from propolis.runtime.ending import Exit
from propolis.terms import errors

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
PAGES = (README, TUTORIAL, (ROOT / "docs/reference/cli.md").read_text())
DATA = ROOT / "src/propolis/cli/data"


def blocks(page, language):
    return [
        re.sub(r"^   ", "", b, flags=re.MULTILINE) for b in re.findall(rf"```{language}\n(.*?)\s*```", page, re.DOTALL)
    ]


def commands(page):
    """Every `propolis ...` of a page that is a whole command, from blocks and from running text."""
    found = re.findall(r"^propolis (.*?)(?:\s+#.*)?$", page, re.MULTILINE) + re.findall(r"`propolis ([^`]+)`", page)
    return [line.strip() for line in found if "VERB" not in line and "..." not in line]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A terminal in an empty folder with the page's files beside, and a fleet started as the page says."""
    folder = tmp_path_factory.mktemp("reader")
    lines = (DATA / "breast_cancer.csv").read_text().splitlines()[:41]
    (folder / "table.csv").write_text("\n".join(",".join(line.split(",")[:30]) for line in lines) + "\n")
    (folder / "model.onnx").write_bytes((DATA / "breast_cancer.onnx").read_bytes())
    environment = {**os.environ, "PROPOLIS_HOME": str(folder / "home")}
    found = {"job": ""}

    def run(line, *more, code=Exit.OK):
        line = line.replace("JOB", found["job"]).replace("FILE", "fetched.json")
        command = [sys.executable, "-m", "propolis", *shlex.split(line), *more]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=90, cwd=folder, env=environment, check=False
        )
        assert done.returncode == code, f"propolis {line}\n{done.stdout}{done.stderr}"
        found["job"] = next(iter(re.findall(r"^job ([0-9a-f]{8})", done.stdout, re.MULTILINE)), found["job"])
        return done

    run.folder, run.environment = folder, environment
    run("up -d")
    yield run
    run("down")


def test_the_readmes_commands_and_its_five_lines(shell):
    (shell.folder / "job.py").write_text("def score(p):\n    return p['age'] / 100\n")
    (shell.folder / "inputs.json").write_text('[{"age": 61}, {"age": 34}]')
    block = next(part for part in README.split("```")[1::2] if "propolis run" in part)
    for line in commands(block):
        if line.split()[0] not in ("up", "down"):
            shell(line)
    (five,) = blocks(README, "python")
    assert len([line for line in five.splitlines() if line.strip()]) == 5
    (shell.folder / "five.py").write_text(five)
    done = subprocess.run(
        [sys.executable, "five.py"],
        capture_output=True,
        text=True,
        cwd=shell.folder,
        env=shell.environment,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("[0.61"), done.stderr
    assert json.loads((shell.folder / "scores.json").read_text()) == [0.61, 0.34]


def test_the_tutorials_steps(shell):
    (shell.folder / "job.py").write_text(blocks(TUTORIAL, "python")[0])
    (shell.folder / "patients.json").write_text(re.search(r"`(\[\{.*?\])`", TUTORIAL)[1])
    said = commands(TUTORIAL)
    step = next(line for line in said if line.startswith("run job.py:risk"))
    assert "nothing here proves" in shell(step, "--timeout", "3", code=Exit.REFUSED).stderr
    for verb in ("nodes", "jobs", "explain JOB", "stop JOB"):
        assert verb in said
        shell(verb)
    shell(step, "--privacy", "trusted-lenders")
    assert json.loads((shell.folder / "risks.json").read_text())[1] == {"id": 2, "risk": 0.34}
    assert "looking at 2" in shell(next(line for line in said if line.startswith("logs"))).stdout


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in commands(page)}))
def test_every_command_on_the_pages_is_one(line):
    command, context = cli, click.Context(cli)
    words = shlex.split(line.replace("[node|owner]", "node"))
    while isinstance(command, click.Group) and (words or not command.invoke_without_command):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, parent=context, info_name=name)
    if words:
        command.make_context(line, words, parent=context, resilient_parsing=False)


def tree(kind):
    for sub in kind.__subclasses__():
        if sub.__module__ == errors.__name__:
            yield sub
            yield from tree(sub)


def test_the_table_of_errors_is_the_tree():
    text = (ROOT / "docs/reference/errors.md").read_text()
    rows = [
        tuple(cell.strip() for cell in line.strip("|\n").split("|"))
        for line in re.findall(r"^\| `.*", text, re.MULTILINE)
    ]
    wanted = [
        (f"`{e.code}`", f"`{e.__name__}`", e.__doc__.strip().rstrip("."), e.hint) for e in tree(errors.PropolisError)
    ]
    assert sorted(rows) == sorted(wanted)
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    assert sorted(drawn) == sorted(kind.__name__ for kind in tree(errors.PropolisError))


def reasons():
    """Every reason that a `Rejected` of ours is raised with, as far as it stands there as a word."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Rejected":
                yield from (word.value for word in node.args[:1] if isinstance(word, ast.Constant))


def test_the_pages_of_evidence_name_every_reason_of_a_refusal():
    """docs/reference/errors.md sends people there, saying that all of them are there; `log_*` stands for its family."""
    named = set(re.findall(r"`([a-z0-9_]+\*?)`", SPECS["attestation.md"] + SPECS["evidence.md"]))
    families = tuple(each[:-1] for each in named if each.endswith("_*"))
    found = set(reasons())
    assert len(found) > 80
    assert {each for each in found - named if not each.startswith(families)} == set()


def test_the_page_of_attacks_names_what_is_there():
    page = (ROOT / "docs/security/attacks.md").read_text()
    code = "".join(
        path.read_text() for folder in ("tests", "src/propolis/testing") for path in (ROOT / folder).rglob("*.py")
    )
    named = [
        word
        for line in page.splitlines()
        if line.startswith("| ")
        for word in re.findall(r"`([^`]+)`", line.split("|")[3])
    ]
    assert len(named) > 20
    for word in named:
        if word.startswith("tests/"):
            assert (ROOT / word).is_file(), word
        elif word.startswith("propolis."):
            assert (ROOT / "src" / word.replace(".", "/")).with_suffix(".py").is_file(), word
        else:
            assert re.search(rf"def {re.escape(word)}\(", code), word


SPECS = {path.name: path.read_text() for path in (ROOT / "docs/specs").glob("*.md")}
STEPS = {
    name: set(re.findall(r"(?:^ *|\*\*)(\d+[a-z]?)\.(?: |\*\*)", text, re.MULTILINE)) for name, text in SPECS.items()
}
LETTERED = {name: set(re.findall(r"\*\*([A-Z]+\d+)\*\*", text)) for name, text in SPECS.items()}
"""Pages of many subjects number their steps by subject: P1, P2, V1."""

CITED = re.compile(r"(?:([a-z-]+\.md),? )?\b(?:steps?|rules?) (\d+[a-z]?)\b(?: and (\d+[a-z]?)\b)?")
OF_FAMILY = {
    "link": "link.md",
    "membership": "membership.md",
    "blobs": "blob.md",
    "jobs": "job.md",
    "attestation": "attestation.md",
}


def citations():
    """Every numbered step that code cites: by the page's name, or in a family whose own page numbers them."""
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        named = re.search(r"docs/specs/([a-z-]+\.md)", text)
        own = OF_FAMILY.get(path.parent.name, named[1] if named else "")
        for page, *numbers in CITED.findall(text):
            yield from ((path.name, page or own, number) for number in numbers if number)


def test_every_step_that_the_code_cites_is_in_its_specification():
    found = list(citations())
    assert len(found) > 50
    assert [each for each in found if each[2] not in STEPS.get(each[1], ())] == []


@pytest.mark.parametrize("name", STEPS)
def test_the_steps_of_a_specification_are_numbered_without_gap(name):
    assert STEPS[name] or LETTERED[name]
    whole = {int(step) for step in STEPS[name] if step.isdigit()}
    assert sorted(whole) == list(range(1, max(whole, default=0) + 1))
    assert {int(step[:-1]) for step in STEPS[name] if not step.isdigit()} <= whole, "5a comes after 5"
    for letter in {step.rstrip("0123456789") for step in LETTERED[name]}:
        numbers = sorted(int(s.removeprefix(letter)) for s in LETTERED[name] if re.fullmatch(rf"{letter}\d+", s))
        assert numbers == list(range(1, max(numbers) + 1)), letter


def test_every_lettered_step_that_the_code_cites_is_in_its_specification():
    cited = []
    for path in (ROOT / "src").rglob("*.py"):
        for page, words in re.findall(r"([a-z-]+\.md), ((?:[A-Z]+\d+(?:-[A-Z]*\d+)?(?:, | and )?)+)", path.read_text()):
            cited += [(path.name, page, step) for step in re.findall(r"[A-Z]+\d+", words)]
    assert len(cited) > 20
    assert [each for each in cited if each[2] not in LETTERED.get(each[1], ())] == []


def test_decisions_are_numbered_without_gap_and_those_cited_are_there():
    names = sorted(path.name for path in (ROOT / "docs/adr").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for path in (ROOT / "docs/adr").glob("*.md"):
        assert path.read_text().startswith(f"# {int(path.name[:4])}. "), path.name
    places = [
        path for folder in ("src", "docs") for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")
    ]
    cited = {word for path in places for word in re.findall(r"adr/(\d{4}[a-z-]*)", path.read_text())}
    assert len(cited) > 3
    assert [word for word in cited if not any(name.startswith(word) for name in names)] == []


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs/adr/0002-dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(word for extra in project["optional-dependencies"].values() for word in extra),
    ]
    assert [word for word in wanted if re.match(r"[a-z0-9-]+", word)[0] not in page] == []


def test_the_glossarys_words_have_a_home_and_one_meaning():
    rows = re.findall(
        r"^\| (?!word|---)([^|]+) \| [^|]+ \|([^|]*)\|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE
    )
    words = [word for row, _ in rows for word in row.split(", ")]
    assert len(words) == len(set(words)) > 40
    for place in (place for _, cell in rows for place in re.findall(r"`([^`]+)`", cell)):
        path = ROOT / "src/propolis" / place.removeprefix("propolis.").replace("propolis/", "")
        assert path.exists(), place


def test_every_file_that_a_page_or_a_comment_names_is_there():
    places = [path for folder in ("src", "docs", "examples", "tests") for path in (ROOT / folder).rglob("*.*")]
    places += list(ROOT.glob("*.md"))
    for path in (path for path in places if path.suffix in (".py", ".md", ".toml")):
        for word in re.findall(r"\b(?:tests|docs|examples|benchmarks)/[\w/-]+\.(?:py|md)\b", path.read_text()):
            assert (ROOT / word).is_file(), f"{path.relative_to(ROOT)} names {word}"


def test_every_error_that_names_one_thing_says_the_way_out():
    """A branch of the tree, and a setting that is off, say it where they are raised: the way out depends on what is off."""
    leaves = [kind for kind in tree(errors.PropolisError) if not kind.__subclasses__()]
    assert len(leaves) > 12
    assert [kind.__name__ for kind in leaves if not kind.hint and kind is not errors.ConfigError] == []
