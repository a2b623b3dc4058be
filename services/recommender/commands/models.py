"""`tidings models …`: what was trained, which of it serves, and what may go.

tidings models list
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from services.recommender.features import FEATURES
from services.recommender.models.files import (
    BLEND,
    BadModelError,
    Kind,
    Listed,
    ModelFolder,
    TrainingRunsError,
    models_of,
)
from services.recommender.models.loading import neighbours_of, ranker_of
from services.recommender.models.neighbours import BadNeighboursError
from services.recommender.models.trees import BadTreesError
from services.recommender.rank.blend import PLAIN
from tidings.commands.printing import json_option, print_rows
from tidings.process.settings import load_settings

NO_NEIGHBOURS = "no-neighbours"
SHOWN_FIGURES = ("hit10", "ndcg10", "recall10")


@click.group()
def models() -> None:
    """What `tidings train` has made: which models there are, and which of them serves readers."""


@models.command("list")
@json_option
def list_models(*, as_json: bool) -> None:
    """Every model, oldest first: its kind, whether it serves, its figures, whether it is whole."""
    folder = models_of(load_settings().site.var_dir)
    rows = [_describe(listed) for listed in folder.listed()]
    if rows or as_json:
        print_rows(rows, as_json=as_json)
    else:
        click.echo("no model has been trained; readers are served by the hand blend")


@models.command("use")
@click.argument("name")
def use_model(name: str) -> None:
    """Let each worker serve with the model NAME within a second or two.

    `blend` is the hand blend in place of a learned ranker, and `no-neighbours` ends the nightly
    source `collaborative`.
    """
    folder = models_of(load_settings().site.var_dir)
    if name in (BLEND, NO_NEIGHBOURS):
        folder.use(Kind.RANKER if name == BLEND else Kind.NEIGHBOURS, BLEND)
        click.echo(f"{name} is in use")
        return
    try:
        kind = check_servable(folder, name)
        folder.use(kind, name)
    except BadModelError as ex:
        click.echo(f"{name} is not used: {ex}", err=True)
        sys.exit(1)
    click.echo(f"{name} is in use")


@models.command("prune")
@click.option(
    "--keep",
    default=7,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="So many of each kind stay, the newest.",
)
def prune_models(keep: int) -> None:
    """Remove old models, and what a training left that was ended. The one in use always stays."""
    folder = models_of(load_settings().site.var_dir)
    try:
        with folder.lock():
            removed = folder.prune(keep)
    except TrainingRunsError as ex:
        click.echo(f"nothing is removed: {ex}", err=True)
        sys.exit(os.EX_TEMPFAIL)
    for name in removed:
        click.echo(f"removed {name}")
    click.echo(f"{len(removed)} removed, {len(folder.names())} left")


def check_servable(folder: ModelFolder, name: str) -> Kind:
    """The kind of a model, once all is checked that a worker checks.

    Raises:
        BadModelError: a worker would refuse it.
    """
    kind = folder.read_manifest(name).about.kind
    model = folder.read(name, kind)
    try:
        if kind is Kind.RANKER:
            ranker_of(model, FEATURES, PLAIN)
        else:
            neighbours_of(model)
    except (BadTreesError, BadNeighboursError) as ex:
        raise BadModelError(str(ex)) from ex
    return kind


def _describe(listed: Listed) -> dict[str, Any]:
    about = listed.manifest.about if listed.manifest else None
    figures = about.figures if about else {}
    row: dict[str, Any] = {
        "model": listed.name,
        "kind": about.kind if about else None,
        "in use": "yes" if listed.is_used else "",
    }
    row |= {name: round(figures[name], 4) if name in figures else None for name in SHOWN_FIGURES}
    return row | {"state": listed.verdict}
