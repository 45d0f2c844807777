"""Names beside points, where they hide neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

# Where a label may stand: its offset in points, and which of its sides is at the point.
NEAR = [
    (8, 0, 'left', 'center'),
    (-8, 0, 'right', 'center'),
    (0, 8, 'center', 'bottom'),
    (0, -8, 'center', 'top'),
]
FAR = [
    (sign * 10, dy, side, 'center')
    for dy in (14, -14, 28, -28, 42, -42)
    for sign, side in ((1, 'left'), (-1, 'right'))
]


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    colors: Sequence[tuple[float, ...]],
) -> None:
    """Writes each text beside its point, in the first place that is free; a line leads to a far one.

    Args:
        axes: with their final limits.
        points: in data coordinates.
        texts: one for each point.
        colors: of the texts.
    """
    figure = axes.figure
    canvas = FigureCanvasAgg(figure)  # type: ignore[arg-type]
    canvas.draw()  # fixes the layout
    renderer = canvas.get_renderer()
    pixels = axes.transData.transform(points)
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in pixels]
    inside = axes.get_window_extent()
    for point, text, color in zip(points, texts, colors, strict=True):
        for number, (dx, dy, horizontal, vertical) in enumerate([*NEAR, *FAR]):
            far = number >= len(NEAR)
            label = axes.annotate(
                text,
                point,
                xytext=(dx, dy),
                textcoords='offset points',
                ha=horizontal,
                va=vertical,
                fontsize=8,
                color=color,
                arrowprops={'arrowstyle': '-', 'color': color, 'lw': 0.5} if far else None,
            )
            label.set_in_layout(False)
            box = _text_box(label, renderer)
            last = number == len(NEAR) + len(FAR) - 1
            if last or (_within(box, inside) and not box.count_overlaps(taken)):
                taken.append(box)
                break
            label.remove()


def _text_box(label: Annotation, renderer: RendererBase) -> Bbox:
    """The box of the text alone, without its line."""
    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer)


def _within(box: Bbox, frame: Bbox) -> bool:
    return box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
