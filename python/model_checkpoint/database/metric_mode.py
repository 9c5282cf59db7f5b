"""Which direction of a metric is better, as its name tells."""

from __future__ import annotations

import re

from model_checkpoint.types import Mode

__all__ = ["usual_mode"]

_SMALLER = re.compile(r"bp[bc]|[cw]er|err|error|fid|latency|loss|mae|mape|mse|nll|perplexity|ppl|rmse|time")
_LARGER = re.compile(
    r"acc|accuracy|auc|auroc|bleu|dice|exact|f1|iou|map|mrr|ndcg|precision|psnr|r2|recall|return|reward|rouge|score|ssim"
)


def usual_mode(metric: str) -> Mode | None:
    """``"min"`` for ``val_loss``, ``"max"`` for ``eval/accuracy``, None where the name does not tell."""
    words = re.split(r"[^a-z0-9]+", metric.lower())
    smaller = any(_SMALLER.fullmatch(word) for word in words)
    larger = any(_LARGER.fullmatch(word) for word in words)
    if smaller == larger:
        return None
    return "min" if smaller else "max"
