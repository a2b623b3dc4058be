"""The documentation tells the truth about names: links lead somewhere, and commands, options and
settings exist."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tidings.commands.main import main
from tidings.process.errors import PREFIX
from tidings.process.settings import flat_names
from tidings.process.settings.loading import RETIRED

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHELL = {"sh", "bash", "console", "shell"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that the usual renderers give a page's headings."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def split_commands(line: str) -> Iterator[list[str]]:
    """The commands of one shell line, in words, without the variables set before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for is_operator, words in itertools.groupby(
        lexer, key=lambda word: set(word) <= set(";&|()<>")
    ):
        typed = list(
            itertools.dropwhile(
                lambda word: re.fullmatch(r"[A-Z_]+=.*", word) or word == "sudo", words
            )
        )
        if typed and not is_operator:
            yield typed


def commands(page: Path) -> Iterator[list[str]]:
    """The commands of a page: those in its shell blocks, and `make …` and `tidings …` in its
    sentences."""
    for language, block in FENCE.findall(page.read_text()):
        if language in SHELL:
            for line in block.replace("\\\n", " ").splitlines():
                # In a console block only what follows the prompt was typed.
                yield from split_commands(
                    line.partition("$ ")[2] if language == "console" else line
                )
    for quoted in re.findall(r"`((?:make|tidings) [^`]+)`", prose(page)):
        yield quoted.split()


def unknown_targets(words: list[str]) -> list[str]:
    """The targets of a `make` command that its Makefile does not have. `make -C FOLDER` uses the
    one there."""
    words = words[1:]
    folder = ROOT
    if words[:1] == ["-C"]:
        folder = ROOT / words[1]
        words = words[2:]
    makefile = (folder / "Makefile").read_text()
    targets = [word for word in words if "=" not in word and not word.startswith("-")]
    return [target for target in targets if not has_target(makefile, target)]


def has_target(makefile: str, name: str) -> bool:
    """Names with capitals stand for any, as in `bench-NAME`; what `bench-%` takes is listed in
    `BENCHES`."""
    if any(char.isupper() for char in name):
        return True
    variables = dict(re.findall(r"^(\w+) *:?= *(.*)$", makefile, re.MULTILINE))
    kind, _, stem = name.partition("-")
    if (
        stem
        and stem
        in variables.get({"bench": "BENCHES", "faults": "FAULTS"}.get(kind, ""), "").split()
    ):
        return True
    heads = re.findall(r"^([^\s#:=][^:=]*):(?!=)", makefile, re.MULTILINE)
    words = re.sub(
        r"\$\((\w+)\)", lambda match: variables.get(match[1], ""), " ".join(heads)
    ).split()
    return name in words


def explain_unknown(words: list[str]) -> str | None:
    """Why this is no command of `tidings`, or None. Arguments are not looked at."""
    command: click.Command = main
    context = click.Context(command)
    for word in words[1:]:
        options = {
            name
            for param in command.get_params(context)
            for name in (*param.opts, *param.secondary_opts)
        }
        if word.startswith("-") and word != "-":
            if word.partition("=")[0] not in options | {"--help"}:
                return f"{command.name} has no option {word}"
        elif isinstance(command, click.Group) and not word.isupper() and word != "…":
            found = command.get_command(context, word)
            if found is None:
                return f"{command.name} has no command {word}"
            command = found
            context = click.Context(command, parent=context)
    return None


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            dead.append(target)

    assert dead == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_on_the_map_exists(name: str) -> None:
    """A path in capitals, such as `gateway/resources/NOUN.py`, is the reader's to choose."""
    places = "tidings|gateway|services|jobs|tests|bench|docs|scripts|requirements|idl"
    paths = re.findall(rf"`((?:{places})/[\w./-]+)`", (ROOT / name).read_text())

    assert len(paths) > 15
    assert [
        path
        for path in paths
        if not (ROOT / path).exists() and not re.search(r"\b[A-Z]+\b", Path(path).stem)
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_make_target_in_the_docs_exists(page: Path) -> None:
    typed = [words for words in commands(page) if words[0] == "make"]

    assert [target for words in typed for target in unknown_targets(words)] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_tidings_command_in_the_docs_exists_with_its_options(page: Path) -> None:
    typed = [words for words in commands(page) if Path(words[0]).name == "tidings"]

    assert [reason for words in typed if (reason := explain_unknown(words))] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_setting_in_the_docs_exists(page: Path) -> None:
    known = {PREFIX + name.upper() for name in flat_names()} | RETIRED
    named = set(re.findall(rf"\b{PREFIX}[A-Z][A-Z0-9_]*\b", page.read_text()))

    assert named - known == set()


def test_the_readme_starts_with_the_commands_that_make_has() -> None:
    """What it is, two commands, what you see."""
    typed = [words for words in commands(ROOT / "README.md") if words[0] == "make"]

    assert ["make", "run"] in typed
    assert ["make", "test"] in typed


def test_an_invented_command_would_be_noticed() -> None:
    """The checks above check something."""
    assert unknown_targets(["make", "fly", "run", "bench-rpc", "faults-NAME", "ARGS=-q"]) == ["fly"]
    assert explain_unknown(["tidings", "migrate"]) is None
    assert explain_unknown(["tidings", "fly"]) == "main has no command fly"
    assert explain_unknown(["tidings", "migrate", "--fast"]) == "migrate has no option --fast"
