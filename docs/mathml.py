"""Formulas as MathML, which browsers draw without a script or a network; docutils translates them from LaTeX."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

SUBSTITUTES = {"dots": r"\ldots", "dotsc": r"\ldots", "dotsb": r"\cdots"}
"""LaTeX that docutils does not know, in its words; sizes of delimiters (`\\big`) are left to the browser."""

_SIZES = re.compile(r"\\[bB]igg?[lrm]?(?![a-zA-Z])")
_FUNCTION = re.compile(r"(</m(?:i|n|sub|sup|frac)>)?(\s*<mi>\w+</mi>\s*<mo>&ApplyFunction;</mo>)(?!\s*<mo[^>]*>\()")
_SPACE = '<mspace width="0.17em"></mspace>'
_COMMANDS = re.compile(rf"\\({'|'.join(SUBSTITUTES)})(?![a-zA-Z])")


def mathml(tex, as_block=False):
    """A formula's MathML element.

    Raises:
        MathError: names what docutils does not know.
    """
    tex = _COMMANDS.sub(lambda match: SUBSTITUTES[match[1]], _SIZES.sub("", tex))
    if as_block and r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    found = tex2mathml(" ".join(tex.split()), as_block=as_block)
    return _FUNCTION.sub(lambda m: (m[1] + _SPACE if m[1] else "") + m[2] + _SPACE, found)  # TeX's space around log x


def setup(app):
    """Make this the renderer of all formulas."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


def _inline(writer, node):
    writer.body.append(_element(node, as_block=False))
    raise nodes.SkipNode


def _block(writer, node):
    writer.body.append(f'<div class="math">{_element(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _element(node, as_block):
    try:
        return mathml(node.astext(), as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
        return f"<code>{nodes.unescape(node.astext())}</code>"
