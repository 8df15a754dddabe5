"""What all plots share: colours that everybody can tell apart, and figures without global state."""

from __future__ import annotations

from typing import Any

# Okabe & Ito's palette: told apart by the colour-blind; line styles and markers tell the same in grey print
BLUE, ORANGE, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#A0A0A0"
PURPLE, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"
DPI = 150


def new_figure(width: float, height: float, title: str) -> Any:
    """A figure of its own, in inches; no pyplot, so nothing global is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    return figure


def whole_numbers(axis: Any) -> None:
    """Ticks of epochs, layers and other counts."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
