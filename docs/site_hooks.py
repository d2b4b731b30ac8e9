"""Pages of the documentation site that are made from other files; mkdocs calls the functions.

The Python reference is made from the public names of the package, so that a name without a place in
it ends the build. The pages of the project are the files at the root of the repository.
"""

from __future__ import annotations

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

import toomuchtv

ROOT = Path(__file__).resolve().parents[1]

#: The pages of the Python reference: title, introduction, and the packages whose names they have.
API_PAGES = {
    "catalog": (
        "Catalog and media",
        "From a folder of media files to a catalog with proxies, and single clips of any file.",
        ("catalog", "media"),
    ),
    "data": (
        "Sampling and batches",
        "From a catalog, or from any dataset, to batches of clips.",
        ("data",),
    ),
    "models": (
        "Models and losses",
        "Encoders and losses are modules that take plain tensors.",
        ("models", "losses"),
    ),
    "training": (
        "Training",
        "A whole training run, as `toomuchtv pretrain` makes it.",
        ("training",),
    ),
    "inference": (
        "Trained models",
        "A trained model applied to files and tensors, and exported for others.",
        ("inference", "export"),
    ),
    "evaluation": (
        "Evaluation and diagnosis",
        "What an encoder is good for, and what its embeddings encode.",
        ("evaluation", "diagnosis"),
    ),
    "search": (
        "Search",
        "Embed a catalog, find moments in it, and write what was found.",
        ("search",),
    ),
}

#: Files at the root of the repository, by the name of their page.
PROJECT_PAGES = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "code_of_conduct": "CODE_OF_CONDUCT.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file under `docs/`."""
    for path, text in {**api_pages(), **project_pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def public_names() -> dict[str, str]:
    """Return the package of every public name, such as `data` for `toomuchtv.ClipBatch`."""
    homes = {f"toomuchtv.{name}": module.split(".")[0] for name, module in toomuchtv._HOMES.items()}
    missing = {f"toomuchtv.{name}" for name in toomuchtv.__all__} - homes.keys()
    if missing != {"toomuchtv.losses"}:
        raise PluginError(f"these public names have no module: {sorted(missing)}")
    source = (ROOT / "src" / "toomuchtv" / "losses" / "__init__.py").read_text("utf-8")
    (losses,) = (
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return homes | {f"toomuchtv.losses.{name}": "losses" for name in losses}


def api_pages() -> dict[str, str]:
    """Return the pages of the Python reference by path, with one section per public name."""
    names = public_names()
    placed = {package for _, _, packages in API_PAGES.values() for package in packages}
    if set(names.values()) - placed:
        raise PluginError(f"API_PAGES lacks the packages {sorted(set(names.values()) - placed)}")
    index = [
        "# Python reference",
        "Everything here is public. `import toomuchtv as tv` imports a name when it is first used. "
        "The losses are in `tv.losses`.",
    ]
    pages = {}
    for page, (title, introduction, packages) in API_PAGES.items():
        of_page = sorted((name for name in names if names[name] in packages), key=_order)
        sections = [f"# {title}", introduction, *(f"::: {name}" for name in of_page)]
        pages[f"reference/api/{page}.md"] = "\n\n".join(sections) + "\n"
        links = [f"[`{name.removeprefix('toomuchtv.')}`][{name}]" for name in of_page]
        index += [f"**[{title}]({page}.md).** {introduction}", ", ".join(links)]
    return {"reference/api/index.md": "\n\n".join(index) + "\n", **pages}


def _order(name: str) -> tuple[bool, str]:
    """Functions and classes first, and losses after them, each by name."""
    return name.startswith("toomuchtv.losses."), name.lower()


def project_pages() -> dict[str, str]:
    """Return the files of the root as pages, with links that lead to pages of the site."""
    pages = {}
    for page, name in PROJECT_PAGES.items():
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](../")
        for other, file in PROJECT_PAGES.items():
            text = text.replace(f"]({file}", f"]({other}.md")
        pages[f"project/{page}.md"] = text
    return pages
