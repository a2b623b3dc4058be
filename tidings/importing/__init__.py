"""Brings articles in from files and feeds: JSONL, CSV, RSS, Atom and OPML, from disk, standard
input or http(s).

The front of the package; what stands behind it is a line of small steps. `inputs` opens, `formats`
recognises, a reader a format (`jsonl`, `delimited`, `feeds`, `opml`) yields rows, `rows` judges
each and `bodies` sanitises it, `writing` stores them in batches, `workspace` remembers how far it
came, and `loading` joins them.

    report = import_articles("tides.jsonl", engine, folder=Path("var/import"))
"""

from tidings.importing.formats import Format
from tidings.importing.inputs import InputError
from tidings.importing.loading import import_articles, import_rows
from tidings.importing.report import Counts, Report
from tidings.importing.rows import NewArticle, Place, Reject, Row, RowError

__all__ = [
    "Counts",
    "Format",
    "InputError",
    "NewArticle",
    "Place",
    "Reject",
    "Report",
    "Row",
    "RowError",
    "import_articles",
    "import_rows",
]
