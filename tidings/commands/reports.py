"""`tidings reports`: messages that readers reported, for a person to judge.

An operator sees what was reported and nothing else of a conversation, deletes what has to go, and
closes the report. Rejected: a list of conversations; they are their members' own.

    tidings reports list
    tidings reports close 12 --delete-message
"""

from __future__ import annotations

from functools import partial

import click

from tidings.commands.printing import ID, json_option, print_rows
from tidings.process.errors import CannotStartError
from tidings.process.settings import load_settings
from tidings.store.opening import open_database
from tidings.store.transacting import transact
from tidings.talk import reports as talk_reports
from tidings.talk.reports import Report, ReportNotFoundError

MOST_LISTED = 1000


@click.group()
def reports() -> None:
    """Messages that readers reported."""


@reports.command("list")
@json_option
def list_reports(*, as_json: bool) -> None:
    """Print the reports that wait for a person, the oldest first."""
    with open_database(load_settings()).connect() as conn:
        found = talk_reports.find_reports(conn, limit=MOST_LISTED)
    if as_json or found:
        print_rows([_row(report) for report in found], as_json=as_json)
    else:
        click.echo("nothing is reported")


@reports.command("close")
@click.argument("report_ids", metavar="REPORT...", nargs=-1, type=ID, required=True)
@click.option("--delete-message", is_flag=True, help="Take the text from the message as well.")
def close(report_ids: tuple[int, ...], *, delete_message: bool) -> None:
    """Take reports off that list, once a person has judged them. They are kept for 90 days."""
    deal_with = talk_reports.delete_reported if delete_message else talk_reports.close_report
    engine = open_database(load_settings())
    try:
        for report_id in report_ids:
            transact(engine, partial(deal_with, report_id=report_id))
    except ReportNotFoundError as ex:
        raise CannotStartError(str(ex)) from None
    click.echo(f"{len(report_ids)} closed")


def _row(report: Report) -> dict[str, object]:
    return {
        "report": report.report_id,
        "by": report.reader_id,
        "reason": report.reason,
        "sender": report.sender_id,
        "conversation": report.conversation_id,
        "message": report.seq,
        "text": report.body,
        "at": report.at,
    }
