"""How Sphinx builds the site; `make docs` runs it. What is generated from the code is made here, before the rest."""

import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))  # `docs.…` can be imported

import probae  # noqa: E402
from docs import docstrings, figures, mathml, reference, tables  # noqa: E402

project = "probae"
author = "The probae developers"
copyright = "the probae developers"
version = release = probae.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["**/.ipynb_checkpoints"]
smartquotes_action = "D"  # dashes alone: a'v is a formula
highlight_language = "text"  # formulas; code says that it is Python

html_theme = "furo"
html_title = f"probae {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tutorials are committed with their results

autodoc_inherit_docstrings = False  # what a base says is said there
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
python_display_short_literal_types = True
python_use_unqualified_type_names = True


from_code = {}  # filled by `generate`, since autodoc changes the signatures that it has shown


class FromCode(SphinxDirective):
    """A table that `docs/tables.py` reads off the code, by its name; or the list of tutorials."""

    required_arguments = 1
    option_spec = {"wide": directives.flag}  # noqa: RUF012

    def run(self):
        self.env.note_reread()  # the code may have changed where this page has not
        found = self.parse_text_to_nodes(from_code[self.arguments[0]])
        for table in found if "wide" in self.options else ():
            table["classes"].append("wide")
        return found


class CodeLinks(SphinxPostTransform):
    """Links from `pb.VAE` in the text to its page of the reference."""

    default_priority = 5  # before references are resolved

    def run(self, **options):
        known = reference.links()
        for node in list(self.document.findall(nodes.literal)):
            name = re.match(r"[\w.]*", node.astext())[0]
            rest = node.astext()[len(name):]
            linked = isinstance(node.parent, (nodes.reference, pending_xref)) or "xref" in node["classes"]
            if name in known and re.fullmatch(r"(\(.*\))?", rest) and not linked:
                link = pending_xref(
                    refdomain="py", reftype="obj", reftarget=known[name], refwarn=False, refdoc=self.env.docname
                )  # fmt: skip
                node.replace_self(link)
                link += node


def generate(app):
    """The tables; and the reference, the figures and the tutorials' notebooks, where Sphinx looks for pages."""
    for name, text in reference.pages().items():
        write(HERE / "api" / name, text)
    for stale in (HERE / "api").glob("*.rst"):
        if stale.name not in reference.pages():
            stale.unlink()
    figures.draw(HERE / "figures")
    copy_notebooks(ROOT / "tutorials", HERE / "tutorials")
    from_code.update({name: read() for name, read in {**tables.TABLES, "tutorials": tables.tutorials}.items()})


def copy_notebooks(source, target):
    """The executed notebooks of a folder, and nothing that is there no longer."""
    names = {path.name for path in source.glob("*.ipynb")}
    for stale in target.glob("*.ipynb"):
        if stale.name not in names:
            stale.unlink()
    for name in names:
        if not (target / name).exists() or (source / name).read_bytes() != (target / name).read_bytes():
            shutil.copyfile(source / name, target / name)


def write(path, text):
    """Only if it differs, so that a page that did not change is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def house_docstrings(app, what, name, obj, options, lines):
    """Docstrings here are plain text with a few sections of their own, so napoleon would not do."""
    lines[:] = docstrings.restructured(lines)


def links_of_the_repository(app, relative_path, parent, content):
    """Links of CHANGELOG.md and the like point at files; here those are pages under their own names."""
    content[0] = content[0].replace("(CONTRIBUTING.md", "(contributing.md").replace("(CHANGELOG.md", "(changelog.md")


def setup(app):
    mathml.setup(app)
    app.add_directive("from-code", FromCode)
    app.add_post_transform(CodeLinks)
    app.connect("builder-inited", generate)
    app.connect("include-read", links_of_the_repository)
    app.connect("autodoc-process-docstring", house_docstrings)
