"""Draw a terminal session as an SVG: run the commands for real, and show what they print.

    python3 tools/picture.py docs/_static/chowncount.svg ./run

Standard output and standard error are shown as a terminal would, in the order they come.
"""

from __future__ import annotations

import os
import pty
import sys
from html import escape
from pathlib import Path

FONT_PX, LINE_PX, CHAR_PX, MARGIN_PX = 14, 20, 8.43, 18
STYLE = "font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; white-space: pre"


def session(command: str) -> list[str]:
    """Return the lines of a command's output, run on a terminal of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", command])
    output = b""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # the terminal is closed: the command has ended
            break
        if not chunk:
            break
        output += chunk
    os.waitpid(pid, 0)
    lines = output.decode().replace("\r\n", "\n").splitlines()
    return [line.rsplit("\r", 1)[-1] for line in lines]


def draw(lines: list[tuple[str, str]]) -> str:
    """Return the SVG of lines, each with the colour of its text."""
    width = round(max(len(text) for text, _ in lines) * CHAR_PX + 2 * MARGIN_PX)
    height = len(lines) * LINE_PX + 2 * MARGIN_PX + 20
    rows = [
        f'<text x="{MARGIN_PX}" y="{MARGIN_PX + 34 + number * LINE_PX}" fill="{colour}">{escape(text)}</text>'
        for number, (text, colour) in enumerate(lines)
    ]
    lights = [
        f'<circle cx="{18 + 18 * number}" cy="18" r="5.5" fill="{colour}"/>'
        for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#1e2127"/>',
            *lights,
            f'<g font-size="{FONT_PX}" style="{STYLE}">',
            *rows,
            "</g>",
            "</svg>",
            "",
        ]
    )


def main() -> None:
    """Run each command, and draw the session."""
    lines: list[tuple[str, str]] = []
    for command in sys.argv[2:]:
        lines.append((f"$ {command}", "#e6e6e6"))
        lines += [(text, "#98c379" if text.startswith("counted") else "#abb2bf") for text in session(command)]
    Path(sys.argv[1]).write_text(draw(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
