"""What the recommender is meant to reach: each figure with its bar and its aim, in the order of the
table.

    FIGURES["next_click_hit10"].judge(0.61)  # "bar"
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meant:
    """What a figure is meant to be.

    Attributes:
        label: for people.
        bar: what it has to reach; None where it is only told.
        aim: what would be fine.
        less_is_better: as times and bytes are.
    """

    label: str
    bar: float | None = None
    aim: float | None = None
    less_is_better: bool = False

    def judge(self, value: float) -> str:
        """Which of both is reached."""
        sign = -1 if self.less_is_better else 1
        if self.aim is not None and sign * value >= sign * self.aim:
            return "aim"
        if self.bar is None:
            return ""
        return "bar" if sign * value >= sign * self.bar else "MISSED"

    def show(self, bound: float | None) -> str:
        """A bound for the table."""
        return "" if bound is None else f"{'≤' if self.less_is_better else '≥'} {bound:g}"


def _less(label: str, bar: float | None, aim: float | None) -> Meant:
    return Meant(label, bar, aim, less_is_better=True)


FIGURES = {
    "next_click_hit10": Meant("next click, hit@10 before mix", 0.60, 0.64),
    "next_click_ndcg10": Meant("… ndcg@10", 0.365, 0.395),
    "next_click_mrr10": Meant("… mrr@10"),
    "next_click_hit10_blend": Meant("hand blend, nothing learned, hit@10", 0.60),
    "next_click_ndcg10_blend": Meant("… ndcg@10", 0.365),
    "next_click_hit10_covisit": Meant("co-visitation 6 h + counter, same run, hit@10"),
    "next_click_ndcg10_covisit": Meant("… ndcg@10"),
    "next_click_margin_hit10": Meant("margin over it, hit@10", 0.04, 0.07),
    "next_click_margin_ndcg10": Meant("… ndcg@10", 0.035, 0.06),
    "mix_cost_hit10": _less("what mix costs, hit@10", None, 0.02),
    "cf_recall10": Meant("collaborative alone, leave last out, recall@10", 0.076, 0.084),
    "cf_ndcg10": Meant("… ndcg@10", 0.040, 0.042),
    "taste_gain_150": Meant("taste gain at the fifth click, 150 articles", 0.40, 0.55),
    "taste_gain_5000": Meant("… 5,000 articles", 0.65, 0.80),
    "utility_gain_150": Meant("utility gain, 150 articles", 0.35, 0.45),
    "utility_gain_5000": Meant("… 5,000 articles", 0.40, 0.52),
    "planted_pairs_150": Meant("two of each planted channel after 15 clicks, 150", 0.6, 0.8),
    "planted_pairs_5000": Meant("… 5,000 articles", 0.2, 0.5),
    "channels_in_ten": Meant("channels in ten", 3, 4),
    "clicks_after_fifth_150": Meant("clicks after the fifth ÷ hot only, 150", 1.3, 1.5),
    "clicks_after_fifth_5000": Meant("… 5,000 articles", 3, 4),
    "changed_taste_p50": _less("a changed taste: batches to half, p50", 6, 4),
    "changed_taste_p90": _less("… p90", 10, 8),
    "burst_to_feed_s": _less("burst of clicks → others' feeds, s", 10, 2),
    "takedown_s": _less("take-down → in no feed, s", 1, None),
    "handler_p50_ms": _less("user_recommend in the handler, p50, ms", 3, 1.5),
    "handler_p99_ms": _less("… p99, ms", 8, 4),
    "growth_p50_10k_to_1m": _less("growth of p50, 10,000 → 1,000,000 articles", 2, 1.2),
    "start_1m_s": _less("start with 1,000,000 articles, s", 30, 10),
    "catalogue_mib_1m": _less("memory of that catalogue, MiB", 150, 80),
    "idle_core_share": _less("idle worker after an import, share of a core", 0.01, None),
    "one_reader_flood_ratio": Meant("others' answers beside a flood on one reader", 0.8, 0.95),
    "behaviours_per_s": Meant("behaviours accepted a second, durable", 3000, 10_000),
    "redis_bytes_per_reader": _less("Redis per active reader, worst, bytes", 16_384, 8192),
    "redis_bytes_usual": _less("… usual", 8192, 4096),
}
