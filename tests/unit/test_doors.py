"""What exists has a door: a public function, class or method that no route, command, job or
`__main__` reaches fails here, and so does a request in the documentation that no route answers.

Followed by names through the syntax, from the doors: no program has to run, and a call of
`x.name()` reaches every method of that name, so that what is reported is certainly out of reach.
Rejected: the coverage of the suite, for which a test is reason enough for a function to exist.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from falcon.inspect import inspect_app

from gateway.app import create_app
from services.chat.rest.app import create_rest
from tests.lab.chat_rest import NoEvents
from tidings.http.origins import Origins

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("tidings", "gateway", "services", "jobs")
MOST_ALLOWED = 21
# Doors besides, each with its reason. Tests do not count as callers.
ALLOWED = {
    "tidings.process.settings.loading.read_settings": "makes the settings of a site run elsewhere",
    "tidings.store.delayed.hint": "docs/jobs.md offers it to a job that is due within a second",
    "tidings.importing.sax_driver.create_parser": "xml.sax calls it, in a module named to it",
    "tidings.rpc.errors.http_status": "docs/rpc.md promises a status for each failed call",
    "tidings.rpc.calling.balance.Endpoint.in_flight": "shows that no call stays counted",
    "tidings.rpc.calling.pool.Pool.in_use": "shows that no connection stays lent",
}
REQUEST = re.compile(r"\b((?:(?:GET|POST|PUT|PATCH|DELETE)/?)+) (/[\w/{}.-]*)")
# What these decorate is called by its name, like any function; another decorator registers it.
PLAIN = {
    "abstractmethod",
    "cache",
    "cached_property",
    "classmethod",
    "contextmanager",
    "dataclass",
    "dataclass_transform",
    "final",
    "lru_cache",
    "override",
    "overload",
    "property",
    "setter",
    "staticmethod",
    "total_ordering",
    "unique",
    "wraps",
}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(slots=True)
class Unit:
    """A function, class or method, or the statements of a module: what is reached as one."""

    module: str
    name: str
    nodes: list[ast.AST]
    is_registered: bool = False
    members: list[Unit] = field(default_factory=list)

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True)
class Module:
    """A module's definitions, what its names stand for elsewhere, and its statements."""

    body: Unit
    units: dict[str, Unit]
    imported: dict[str, tuple[str, str | None]]


def module_name(path: Path) -> str:
    name = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    return name.removesuffix(".__init__")


def read_sources() -> dict[str, str]:
    return {
        module_name(path): path.read_text()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "migrations" not in path.parts  # Alembic finds them by their folder
    }


def is_registered(node: Definition) -> bool:
    called = [item.func if isinstance(item, ast.Call) else item for item in node.decorator_list]
    names = [
        item.attr if isinstance(item, ast.Attribute) else getattr(item, "id", "") for item in called
    ]
    return bool(set(names) - PLAIN)


def make_unit(module: str, node: Definition, owner: str = "") -> Unit:
    unit = Unit(module, owner + node.name, [node], is_registered(node))
    if isinstance(node, ast.ClassDef):
        members = [item for item in node.body if isinstance(item, FUNCTIONS)]
        unit.members = [make_unit(module, item, f"{node.name}.") for item in members]
        rest = [item for item in node.body if not isinstance(item, FUNCTIONS)]
        unit.nodes = [*rest, *node.bases, *node.keywords, *node.decorator_list]
    return unit


@cache
def read_module(name: str, source: str) -> Module:
    units: dict[str, Unit] = {}
    statements: list[ast.AST] = []
    imported: dict[str, tuple[str, str | None]] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                imported[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = (alias.name, None)
    for statement in tree.body:
        if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
            units[statement.name] = make_unit(name, statement)
        else:
            statements.append(statement)
    return Module(Unit(name, "", statements), units, imported)


class Reach:
    """What is reached from the doors. `reached` holds the units' full names."""

    def __init__(self, sources: Mapping[str, str], words: set[str]) -> None:
        self._modules = {name: read_module(name, source) for name, source in sources.items()}
        self._methods: dict[str, list[tuple[Unit, Unit]]] = {}
        for module in self._modules.values():
            for owner in module.units.values():
                for member in owner.members:
                    self._methods.setdefault(member.name.partition(".")[2], []).append(
                        (owner, member)
                    )
        self.reached: set[str] = set()
        self._asked = set(words)
        self._todo: list[Unit] = []

    def unreached(self) -> list[str]:
        """The public definitions that no door leads to."""
        while self._todo:
            self._follow(self._todo.pop())
        return sorted(
            str(unit)
            for module in self._modules.values()
            for owner in module.units.values()
            for unit in (owner, *owner.members)
            if unit.is_public and str(unit) not in self.reached
        )

    def open(self, module: str, name: str | None = None) -> None:
        """A door: a module that is run or imported, or something in it."""
        self._import(module)
        if name and name in self._modules[module].units:
            self._reach(self._modules[module].units[name])

    def open_by_name(self, name: str) -> None:
        """A function or method by its full name."""
        for module in self._modules.values():
            for owner in module.units.values():
                for unit in (owner, *owner.members):
                    if str(unit) == name:
                        self._reach(unit)

    def _import(self, name: str) -> None:
        while name:
            if name in self._modules and str(self._modules[name].body) not in self.reached:
                self._reach(self._modules[name].body)
                for unit in self._modules[name].units.values():
                    if unit.is_registered:
                        self._reach(unit)
            name = name.rpartition(".")[0]

    def _reach(self, unit: Unit) -> None:
        if str(unit) in self.reached:
            return
        self.reached.add(str(unit))
        self._todo.append(unit)
        for member in unit.members:
            name = member.name.partition(".")[2]
            is_known = name in self._asked or name.startswith("__") or member.is_registered
            if is_known or is_inherited(unit, name):
                self._reach(member)

    def ask(self, attribute: str) -> None:
        """`x.attribute` reaches every method of that name whose class is reached."""
        if attribute not in self._asked:
            self._asked.add(attribute)
            for owner, member in self._methods.get(attribute, []):
                if str(owner) in self.reached:
                    self._reach(member)

    def _follow(self, unit: Unit) -> None:
        module = self._modules[unit.module]
        for root in unit.nodes:
            for node in ast.walk(root):
                match node:
                    case ast.Name(id=name):
                        self._resolve(module, name)
                    case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                        self.ask(attribute)
                        self._resolve(module, name, attribute)
                    case ast.Attribute(attr=attribute):
                        self.ask(attribute)
                    case ast.ImportFrom(module=str(source), names=aliases):
                        self._import(source)
                        for alias in aliases:
                            self._import(f"{source}.{alias.name}")
                    case ast.Import(names=aliases):
                        for alias in aliases:
                            self._import(alias.name)
                    case ast.Constant(value=str(text)) if text.isidentifier():
                        self.ask(text)  # as in getattr, or a method that a library calls by name

    def _resolve(self, module: Module, name: str, attribute: str | None = None) -> None:
        if name in module.units:
            self._reach(module.units[name])
        if name not in module.imported:
            return
        source, original = module.imported[name]
        if original and original in self._units(source):
            self._reach(self._units(source)[original])
        elif original and source in self._modules and original in self._modules[source].imported:
            self._resolve(self._modules[source], original, attribute)  # handed on by a package
        elif attribute:
            full = f"{source}.{original}" if original else source
            if attribute in self._units(full):
                self._reach(self._units(full)[attribute])
            elif full in self._modules and attribute in self._modules[full].imported:
                self._resolve(self._modules[full], attribute)

    def _units(self, module: str) -> dict[str, Unit]:
        return self._modules[module].units if module in self._modules else {}


def is_inherited(owner: Unit, name: str) -> bool:
    """Whether a library's class, of which this is one, declares the method, and so may call it."""
    try:
        found = getattr(importlib.import_module(owner.module), owner.name, None)
    except ImportError:
        return False
    bases = found.__mro__[1:] if isinstance(found, type) else ()
    return any(
        name in vars(base) and base.__module__.partition(".")[0] not in PACKAGES for base in bases
    )


def make_reach(sources: Mapping[str, str], *, besides: Iterable[str] = ALLOWED) -> Reach:
    """With the doors: each `__main__`, what setup.cfg offers as commands, the client that other
    programs import, and the words that Falcon and the templates use."""
    templates = " ".join(
        path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.html")
    )
    words = set(re.findall(r"\.(\w+)", templates))
    words |= {f"on_{verb}" for verb in ("get", "post", "put", "patch", "delete", "head")}
    words |= {"process_request", "process_response", "process_resource", "process_startup"}
    reach = Reach(sources, words)
    for module in sources:
        if module.endswith("__main__"):
            reach.open(module)
        # The setting PAYMENT_PROVIDER names the file.
        if module.startswith("tidings.shop.providers."):
            reach.open(module, "make_provider")
    for module, name in re.findall(r"= ([a-z_.]+):(\w+)$", (ROOT / "setup.cfg").read_text(), re.M):
        reach.open(module, name)
    for door in besides:
        reach.open_by_name(door)
    for module in ("tidings.client.calls", "tidings.client.errors", "tidings.client.values"):
        for name, node in public_names(sources[module]):
            reach.open(module, name)
            for item in getattr(node, "body", []):
                if isinstance(item, FUNCTIONS):
                    reach.ask(item.name)
    return reach


def public_names(source: str) -> Iterator[tuple[str, Definition]]:
    for node in ast.parse(source).body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield node.name, node


@cache
def routes() -> dict[str, set[str]]:
    """Path → methods, of the apps that production runs; names within braces are left out."""
    origins = Origins("http://127.0.0.1:8000")
    apps = [
        create_app(**stand_ins(create_app)),
        create_rest(**stand_ins(create_rest) | {"events": NoEvents(), "origins": origins}),
    ]
    return {
        re.sub(r"{.*?}", "{}", route.path): {
            method.method for method in route.methods if not method.internal
        }
        for app in apps
        for route in inspect_app(app).routes
    }


def stand_ins(create: Callable[..., Any]) -> dict[str, Any]:
    """Something for each of its collaborators."""
    return {name: MagicMock() for name in inspect.signature(create).parameters}


def find_unanswered(text: str) -> list[str]:
    """The requests in a text, such as `GET /articles`, that no route answers."""
    known = routes()
    found = []
    for methods, said in REQUEST.findall(text):
        path = re.sub(r"{.*?}|(?<=/)\d+|(?<=/)[A-Z]+\b", "{}", said.rstrip("."))
        answered = known.get(path, set())
        found += [f"{method} {path}" for method in methods.split("/") if method not in answered]
    return found


def test_what_exists_has_a_door() -> None:
    """Or it is dropped, or made private: what only a test calls is not part of the product."""
    assert make_reach(read_sources()).unreached() == []


def test_few_are_allowed_to_have_no_door_and_each_still_needs_it() -> None:
    without = set(make_reach(read_sources(), besides=()).unreached())

    assert ALLOWED.keys() - without == set()
    assert len(ALLOWED) <= MOST_ALLOWED


def test_what_no_door_leads_to_would_be_noticed() -> None:
    """A function that is only called by another such one, a method, a class, a whole module."""
    sources = read_sources()
    sources["tidings.news.publishing"] += (
        "\ndef erase(conn):\n    wipe(conn)\ndef wipe(conn): ...\n"
    )
    sources["tidings.shop.planted"] = "class Basket:\n    def fill_up(self): ...\n"
    sources["tidings.process.breaker"] += "    def mend_by_hand(self): ...\n"

    assert set(make_reach(sources).unreached()) == {
        "tidings.news.publishing.erase",
        "tidings.news.publishing.wipe",
        "tidings.shop.planted.Basket",
        "tidings.shop.planted.Basket.fill_up",
        "tidings.process.breaker.Breaker.mend_by_hand",
    }


def test_every_request_in_the_documentation_has_a_route() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]

    assert {
        page.name: found for page in pages if (found := find_unanswered(page.read_text()))
    } == {}


def test_an_invented_request_would_be_noticed() -> None:
    said = "GET/PUT /orders/{id}, `POST /orders/12/payment`, GET /channels?all=1, PATCH /moon."

    assert find_unanswered(said) == ["PUT /orders/{}", "PATCH /moon"]
