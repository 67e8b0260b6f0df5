"""Plain text that is good to look at in a terminal: tables, bars, digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHADES = " ░▒▓█"
EIGHTHS = " ▏▎▍▌▋▊▉"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Columns under their names; those whose places are in `left` begin at one place, the others end at one."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(head), "  ".join("─" * width for width in widths), *map(line, rows)])


def bar(share: float, length: int = 40) -> str:
    """A bar of `length` characters at a share of 1, in eighths of a character."""
    eighths = round(8 * length * share)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def drawing(image: np.ndarray) -> str:
    """An image (rows, columns) in [0, 1], two characters a pixel; the margins without ink are left out."""
    down, across = (np.flatnonzero(image.max(axis=axis) > 0) for axis in (1, 0))
    inked = image[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    shades = np.rint((len(SHADES) - 1) * inked).astype(int)
    return "\n".join("".join(2 * SHADES[shade] for shade in row).rstrip() for row in shades)


def shape(array: np.ndarray) -> str:
    """`(60000, 784)`, as numpy writes it."""
    return str(array.shape)


def percent(share: float, places: int = 2) -> str:
    return f"{100 * share:.{places}f} %"


def tiny(value: float) -> str:
    """A difference that is rounding: its size is all there is to it."""
    return f"{value:.0e}" if value else "0"
