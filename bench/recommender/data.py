"""The public data sets that the recommender is measured on. They are not part of this project;
`BENCH_DATA` names a folder that has them, each in a folder of its own name.

    find("globo-news") / "clicks.csv.xz"
"""

from __future__ import annotations

import os
from pathlib import Path

SOURCES = {
    "globo-news": "News Portal User Interactions by Globo.com, v2, Kaggle "
    "gspmoreira/news-portal-user-interactions-by-globocom; clicks.csv.xz with the columns "
    "ts,user_id,session_id,article_id,environment,device,country,referrer, by time",
    "ml-latest-small": "MovieLens latest small, https://grouplens.org/datasets/movielens/; "
    "ratings.csv.gz",
    "nemig-en": "NeMig, English part, https://zenodo.org/records/7442425; behaviors.tsv.gz and "
    "news.tsv.gz",
    "articles-usgov": "posts of github.com/GSA/digitalgov.gov and github.com/18F/18f.gsa.gov, "
    "public domain; articles.jsonl.gz",
}


class MissingDataError(Exception):
    """A data set is not there; the message says where it comes from."""


def find(name: str) -> Path:
    """The folder of a data set.

    Raises:
        MissingDataError: there is none.
    """
    folder = Path(os.environ.get("BENCH_DATA", "")) / name
    if not os.environ.get("BENCH_DATA") or not folder.is_dir():
        raise MissingDataError(f"{name} is not in BENCH_DATA. Its source: {SOURCES[name]}")
    return folder
