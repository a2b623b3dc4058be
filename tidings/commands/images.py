"""`tidings images`: pictures for covers and texts, from the shell.

What is kept is what a picture shows and nothing else that is in its file, as over HTTP.

    tidings images add tide.jpg
"""

from __future__ import annotations

from pathlib import Path

import click

from tidings.commands.changing import change
from tidings.editing.pictures import keep
from tidings.importing.pictures import MAX_BYTES, PictureError, read_picture
from tidings.news.images import FOLDER, Images, ImagesFullError
from tidings.process.boot import prepare_var_dir
from tidings.process.settings import load_settings


@click.group()
def images() -> None:
    """Pictures for covers and texts."""


@images.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def add(file: Path) -> None:
    """Keep the picture in FILE, and print what covers and texts name it by."""
    settings = load_settings()
    prepare_var_dir(settings)
    kept = Images(settings.site.var_dir / FOLDER)
    max_bytes = settings.content.images_max_bytes
    try:
        with file.open("rb") as opened:
            picture = read_picture(opened.read(MAX_BYTES + 1))
        found = change(lambda act: keep(act, kept, picture, max_bytes=max_bytes))
    except (PictureError, ImagesFullError) as ex:
        raise click.ClickException(f"{file}: {ex}") from None
    except OSError as ex:
        raise click.ClickException(f"{file}: {ex.strerror or ex}") from None
    click.echo(f"/images/{found.digest}")
