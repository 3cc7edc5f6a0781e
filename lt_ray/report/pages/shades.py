"""The cells of a heat map of similar blocks: their colours, and what is written in them."""

from __future__ import annotations

import math

from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb

from lt_ray.report.findings.document import HeatMap

MARKS = {"kept": "●", "not trained": "○", "removed": "×"}
"""What became of a block → how that is written"""
_MAP = colormaps["viridis"].with_extremes(bad="#999999")
"""Perceptually uniform: equal steps of similarity look equal; what is no number is grey"""


def lowest(heat_map: HeatMap) -> float:
    """Return the similarity at which the colours begin, a tenth of [0, 0.9]; they end at 1."""
    values = [value for row in heat_map.cka for value in row if math.isfinite(value)]
    return min(max(math.floor(10 * min(values, default=0.0)) / 10, 0.0), 0.9)


def shade(value: float, low: float) -> tuple[str, str]:
    """Return a cell's colour and that of the text on it: `#440154`, `#ffffff`.

    - `value`: similarity [0, 1]; `low`: where the colours begin [0, 1)
    """
    fill = to_rgb(_MAP((value - low) / (1 - low)))
    # Where black and white are equally far in luminance (W3C, WCAG 2.2).
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in fill]
    luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    return to_hex(fill), "#000000" if luminance > 0.179 else "#ffffff"


def written(value: float) -> str:
    """Return a similarity as a cell has room for: `.985`, `1`, `−.012`."""
    if not math.isfinite(value):
        return "–"
    return "1" if value == 1 else f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")
