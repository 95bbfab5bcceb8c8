"""What the drawing is made with: XML elements, escaped texts, and the colours of both themes.

Attributes and texts pass through `clean` (no control or invisible characters, which XML 1.0 forbids anyway) and are
escaped. Plain CSS without variables, so that converters show what browsers show.
"""

from __future__ import annotations

import html
from functools import cache, lru_cache

from testbed.report.escape import clean

STATE_COLOURS = {
    "LISTEN": "#2f6fb2",
    "SYN_SENT": "#a3620a",
    "SYN_RECV": "#a3620a",
    "ESTABLISHED": "#1f7a46",
    "FIN_WAIT1": "#8a4b9c",
    "FIN_WAIT2": "#75459c",
    "CLOSING": "#8a4b9c",
    "CLOSE_WAIT": "#a84a5f",
    "LAST_ACK": "#a84a5f",
    "TIME_WAIT": "#56657a",
    "CLOSE": "#7b7f86",
}

# (light, dark)
COLOURS = {
    "paper": ("#ffffff", "#14171c"),
    "ink": ("#1d2430", "#e4e8ee"),
    "dim": ("#626b79", "#97a1b0"),
    "lane": ("#aab2bf", "#59636f"),
    "client": ("#0b5cad", "#6cb2ff"),
    "server": ("#7a3ab0", "#cf9bff"),
    "lost": ("#c0262d", "#ff7b7f"),
    "passed": ("#1a7f37", "#4cc46f"),
    "failed": ("#c0262d", "#ff7b7f"),
    "unknown": ("#946200", "#e3b341"),
}


def _rules(theme: int) -> str:
    tone = {name: pair[theme] for name, pair in COLOURS.items()}
    texts = "".join(f".ladder .{name}{{fill:{tone[name]}}}" for name in COLOURS if name not in {"paper", "lane"})
    lines = "".join(f".ladder line.{name},.ladder path.{name}{{stroke:{tone[name]}}}" for name in COLOURS)
    halo = f".ladder .halo{{stroke:{tone['paper']}}}"
    steps = f".ladder line.step,.ladder line.lead{{stroke:{tone['dim']}}}.ladder line.late{{stroke:{tone['lost']}}}"
    return f".ladder .paper{{fill:{tone['paper']}}}{texts}{lines}{halo}{steps}"


# The drawing's style sheet. Class names start at `.ladder`, since the drawing may stand inside a page.
STYLE = (
    ".ladder text{font:11px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}"
    ".ladder .title{font-size:15px;font-weight:bold}.ladder .name{font-size:13px;font-weight:bold}"
    ".ladder .halo{paint-order:stroke;stroke-width:3px;stroke-linejoin:round}"
    ".ladder line,.ladder path{fill:none;stroke-width:1.5}.ladder .forged{stroke-dasharray:2 4}"
    ".ladder .again{stroke-dasharray:8 3}.ladder .copy{stroke-dasharray:9 3 2 3}.ladder .bar{fill-opacity:0.2}"
    ".ladder path.tie{fill:none;stroke-dasharray:2 3;stroke-width:1.2}"
    ".ladder line.step{stroke-width:3}.ladder line.lead{stroke-width:1}"
    ".ladder line.hit{stroke:none;stroke-width:13px;pointer-events:stroke}.ladder .absolute{display:none}"
    ".ladder .crowded text,.ladder .quiet{opacity:0}"
    ".ladder .row:hover text,.ladder .row:focus text{opacity:1}"
    ".ladder .state{font-size:10px}.ladder .other{fill:#7b7f86}"
    + "".join(f".ladder .{state}{{fill:{colour}}}" for state, colour in STATE_COLOURS.items())
    + _rules(0)
    + f"@media (prefers-color-scheme:dark){{{_rules(1)}}}"
)


def element(name: str, content: str = "", /, **attributes: str | float) -> str:
    """An XML element; `class_`, `text_anchor` and `xml__space` become `class`, `text-anchor` and `xml:space`.

    Values of attributes are escaped here; the content is XML already.
    """
    shown = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{shown}>{content}</{name}>" if content else f"<{name}{shown}/>"


@cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("__", ":").replace("_", "-")


def _value(value: str | float) -> str:
    return _text(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


@lru_cache(maxsize=1000)
def _text(text: str) -> str:
    """A text cleaned and escaped; names of classes and the like come again and again."""
    return html.escape(clean(text))


def write(x: float, y: float, said: str, class_: str, anchor: str = "start", **more: str | float) -> str:
    """A text element; what it says is cleaned and escaped."""
    return element("text", _text(said) or " ", x=x, y=y, class_=class_, text_anchor=anchor, **more)
