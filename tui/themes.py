"""Two themes in colours that colour-blind people tell apart (Okabe and Ito's), and their names."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="spnas-dark",
    dark=True,
    primary="#56B4E9",
    secondary="#CC79A7",
    accent="#F0E442",
    warning="#E69F00",
    error="#D55E00",
    success="#009E73",
    foreground="#E6E6E6",
    background="#101418",
    surface="#171C22",
    panel="#222A33",
)
LIGHT = Theme(
    name="spnas-light",
    dark=False,
    primary="#0072B2",
    secondary="#A03F78",
    accent="#8A6D00",
    warning="#A66A00",
    error="#B34700",
    success="#00704F",
    foreground="#1A1A1A",
    background="#FAFAFA",
    surface="#F0F2F4",
    panel="#DFE4EA",
)
