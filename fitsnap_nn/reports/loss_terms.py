"""Parts of the loss by property."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fitsnap_nn.data.properties import Property

SMALL = 0.01  # share of the loss


def negligible_terms(terms: Sequence[float], properties: Sequence[Property]) -> Iterator[str]:
    """Yield a remark if properties with labels and a weight have next to no share of the loss.

    Args:
        terms: parts of the loss, in the order of the properties; 0 without labels that have a weight. May be empty.
        properties: properties of the fit.
    """
    shares = [(one.title.lower(), term / sum(terms)) for one, term in zip(properties, terms, strict=False) if term > 0]
    listed = [f"{title} {100 * share:.1g} %" for title, share in shares if share < SMALL]
    if listed:
        yield (
            f"negligible in the loss: {', '.join(listed)} of the loss in the best epoch, so training hardly improves "
            "them any more. If they matter, increase their weights, or set balance = 1 in [PYTORCH]"
        )
