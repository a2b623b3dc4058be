"""`tidings articles create|edit|preview`: an article from a file of Markdown or HTML.

The file is one that an editor has in any program, and the options are what a text file cannot say.
Rejected: a file with a head of fields; each program has its own, and an import reads those.

    tidings articles create story.md --channel science
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TextIO

import click
import msgspec

from tidings.commands.changing import change, find_channel, one_line
from tidings.commands.printing import ID, json_option, print_json
from tidings.editing import articles
from tidings.editing.acting import Act
from tidings.editing.fields import Fields, write
from tidings.news.listing import Record
from tidings.process.settings import load_settings
from tidings.store.opening import open_database

# A first line that is a heading of the highest level: the title, rather than a part of the body.
_TITLE = re.compile(r"\A\s*# +(?P<title>[^\n]+)(?:\n|\Z)")
_FILE = click.argument("file", type=click.File(encoding="utf-8"))
_OPTIONS = (
    click.option("--title", help="Default: the first line, if it is a heading: `# Title`."),
    click.option("--summary", help="Default: the first sentences."),
    click.option("--author", help="Who it is by."),
    click.option("--cover", help="An https address, or /images/ and the picture's name."),
    click.option("--url", help="Where it stands besides; relative links start there."),
    click.option("--language", help="Of the text, as en or pt-BR."),
    click.option("--html", "is_html", is_flag=True, help="The file is HTML rather than Markdown."),
)


def _with_fields(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_FILE
@click.option("--channel", required=True, help="Where it stands: its number or its slug.")
@_with_fields
def create(file: TextIO, channel: str, **options: Any) -> None:
    """Store FILE, or - for standard input, as a draft that no reader sees."""

    def work(act: Act) -> Record:
        channel_id = find_channel(act.conn, channel)
        fields = msgspec.structs.replace(_read(file_text, **options), channel_id=channel_id)
        return articles.create(act, fields)

    file_text = file.read()
    article_id = change(work).article_id
    click.echo(f"article {article_id} is a draft; `tidings articles publish {article_id}` shows it")


@click.command()
@click.argument("article_id", metavar="ID", type=ID)
@click.argument("file", type=click.File(encoding="utf-8"), required=False)
@_with_fields
def edit(article_id: int, file: TextIO | None, **options: Any) -> None:
    """Change an article: its text, if FILE is given, and what the options say. From then on its
    source changes it no more."""
    fields = _read(file.read() if file else None, **options)
    change(lambda act: articles.edit(act, article_id, fields))
    click.echo(f"article {article_id} is changed")


@click.command()
@_FILE
@_with_fields
@json_option
def preview(file: TextIO, *, as_json: bool, **options: Any) -> None:
    """Print FILE as readers would get it, and store nothing."""
    fields = _read(file.read(), **options)
    with open_database(load_settings()).connect() as conn, one_line():
        written = write(conn, fields)
    if as_json:
        print_json([written])
    else:
        click.echo(f"{written.title}\n\n{written.summary}\n\n{written.body}")


def _read(text: str | None, *, is_html: bool, **options: str | None) -> Fields:
    given = {name: value for name, value in options.items() if value is not None}
    if text is not None and not is_html and "title" not in given:
        found = _TITLE.match(text)
        if found:
            given["title"], text = found["title"].strip(), text[found.end() :]
    if text is not None:
        given["body_html" if is_html else "body"] = text
    return msgspec.convert(given, Fields)
