#!/usr/bin/env python3
"""Fails when something that the documents show as API has no example. Reads what `cargo doc` has just written.

Every struct, enum, trait, function, type, constant and macro needs one of its own, and so does every public function
of a type; the front page and each module that says more than one line too.
"""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "doc/cloakroom"
EXAMPLE = 'class="rust rust-example-rendered"'
# An item's page, or a function on it, begins here; what traits bring along comes last.
MAIN, METHOD, TRAITS = 'id="main-content"', r'<section id="((?:ty)?method\.[^"]+)"', 'id="trait-implementations"'


def without(page: Path) -> list[str]:
    """What on a page has no example."""
    text = page.read_text(encoding="utf-8").split(MAIN, 1)[1]
    text = re.split(TRAITS + '|id="synthetic-implementations"', text, maxsplit=1)[0]
    parts = re.split(METHOD, text)
    own, methods = parts[0], dict(zip(parts[1::2], parts[2::2]))
    name = f"{page.relative_to(DOCS)}"
    # An item's own words end where its fields, variants or functions are listed.
    own = re.split(r'<h2 id="(?:implementations|required-methods|deref-methods)', own)[0]
    missing = [] if EXAMPLE in own else [name]
    return missing + [f"{name} {method}" for method, said in methods.items() if EXAMPLE not in said]


def main() -> None:
    listed = (DOCS / "all.html").read_text(encoding="utf-8")
    pages = [DOCS / link for link in re.findall(r'<li><a href="([^"]+\.html)"', listed)]
    modules = [DOCS / "index.html", *{page.parent / "index.html" for page in pages if page.parent != DOCS}]
    # Were the pages made otherwise than is thought here, all would seem well.
    assert len(pages) > 60 and len(modules) > 6, f"{len(pages)} items in {len(modules)} modules under {DOCS}"
    missing = [line for page in [*pages, *modules] for line in without(page)]
    if missing:
        sys.exit("no example in the documents of\n  " + "\n  ".join(sorted(missing)))
    print(f"examples: {len(pages)} items in {len(modules)} modules have theirs")


main()
