"""The report as one page that needs no other file and no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mavis.analysis.findings import Findings, ModelFindings
from mavis.report import layout, model_summary, numbers, text_tables, wording
from mavis.report.html import figures, plots
from mavis.report.html import images as pictures
from mavis.report.html.gallery import Tile

ORDERS = "dashed: the most influential cells are removed first; solid: the least influential first"


def render(findings: Findings, curves: pd.DataFrame, tiles: Sequence[Tile]) -> str:
    """The page as text.

    Args:
        findings: what the run found.
        curves: as `mavis.report.write` takes them.
        tiles: images with their maps.
    """
    page = Environment(
        loader=PackageLoader("mavis.report.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.j2")
    attribute = layout.first_attribute(findings)
    views = [_view(findings, model, curves, tiles) for model in findings.models]
    return page.render(
        findings=findings,
        views=views,
        attribute=attribute,
        columns=layout.columns(findings.models),
        validity=figures.validity(findings, attribute) if attribute else "",
        protocol=findings.protocol,
        data=findings.data,
        run=findings.run,
        share=f"{findings.protocol.confidence * 100:g} %",
        number=numbers.number,
        answer_of=wording,
        worth=model_summary,
        grids=text_tables,
        layout=layout,
        numbers=numbers,
        twins=text_tables.twins(findings),
        skilled=any(layout.skill_categories(model) for model in findings.models),
        has_tiles=bool(tiles),
        breakable=breakable,
    )


def breakable(name: str) -> Markup:
    """A metric's name that may break after each underscore."""
    return Markup("_<wbr>").join(name.split("_"))


@dataclass(frozen=True)
class Picture:
    """A figure with the words under it.

    Attributes:
        caption: what it shows and how to read it.
        svg: an element of the page.
    """

    caption: str
    svg: Markup


@dataclass(frozen=True)
class Cell:
    """A map in the gallery, or why there is none.

    Attributes:
        png: a data URI; empty where there is no map.
        told: what a reader who cannot see it is told.
    """

    png: str
    told: str


@dataclass(frozen=True)
class GalleryRow:
    """One explainer's maps on one scale.

    Attributes:
        name: the explainer with its role.
        cells: one per face.
        scale: what the colours mean.
        bar: the colours, a data URI.
    """

    name: str
    cells: tuple[Cell, ...]
    scale: pictures.Scale
    bar: str


@dataclass(frozen=True)
class Face:
    """An image at the head of a column of the gallery.

    Attributes:
        tile: any tile with this image.
        groups: its annotations in words.
        png: a data URI.
    """

    tile: Tile
    groups: str
    png: str


@dataclass(frozen=True)
class Gallery:
    """Explainers by images, for one model."""

    faces: tuple[Face, ...]
    rows: tuple[GalleryRow, ...]


@dataclass(frozen=True)
class View:
    """What the page shows of one model beyond its findings; curves per imputer."""

    found: ModelFindings
    ranking: Markup
    groups: Markup
    curves: Mapping[str, Sequence[Picture]]
    gallery: Gallery
    reliability: text_tables.Grid | None
    agreement: text_tables.Grid | None


def _view(findings: Findings, model: ModelFindings, curves: pd.DataFrame, tiles: Sequence[Tile]) -> View:
    attribute = layout.first_attribute(findings)
    return View(
        found=model,
        ranking=figures.ranking(findings, model, attribute),
        groups=figures.groups(findings, model, attribute) if attribute else Markup(""),
        curves=_curves(findings, model, curves),
        gallery=_gallery(findings, model, [tile for tile in tiles if tile.model == model.model]),
        reliability=text_tables.reliability(findings, model),
        agreement=text_tables.agreement(findings, model),
    )


def _curves(findings: Findings, model: ModelFindings, curves: pd.DataFrame) -> dict[str, list[Picture]]:
    """Per imputer every explainer over all images, and the best ranked one per group."""
    mine = curves[curves["model"] == model.model]
    entries = layout.ordered(model)
    found = {}
    for imputer, rows in mine.groupby("imputer", sort=False):
        whole = rows[rows["group"] == ""]
        panels = {layout.name(entry): whole[whole["explainer"] == entry.explainer] for entry in entries}
        caption = f"All images; removed cells show: {imputer}. {ORDERS.capitalize()}. The shaded area is the gain."
        pictures = [*_picture(panels, caption, model), *_group_curves(findings, model, rows, str(imputer))]
        if pictures:
            found[str(imputer)] = pictures
    return found


def _group_curves(findings: Findings, model: ModelFindings, rows: pd.DataFrame, imputer: str) -> Iterator[Picture]:
    attribute = layout.first_attribute(findings)
    leader = next((entry.explainer for entry in layout.ordered(model) if entry.rank is not None), None)
    if attribute is None or leader is None:
        return
    mine = rows[(rows["explainer"] == leader) & (rows["attribute"] == attribute)]
    panels = {}
    for group in findings.data.groups[attribute]:
        part = mine[mine["group"] == group]
        if len(part) and part["n"].min() >= findings.protocol.min_report:
            panels[f"{layout.spoken(group)} (n={part['n'].max():.0f})"] = part
    what = f"{leader} by {layout.spoken(attribute)}, as labelled; removed cells show: {imputer}."
    caption = f"{what} {ORDERS.capitalize()}."
    yield from _picture(panels, caption, model)


def _picture(panels: dict[str, pd.DataFrame], caption: str, model: ModelFindings) -> Iterator[Picture]:
    if svg := plots.curves(panels, told=f"Perturbation curves on {model.model}. {caption}"):
        yield Picture(caption, svg)


def _gallery(findings: Findings, model: ModelFindings, tiles: Sequence[Tile]) -> Gallery:
    attribute = layout.first_attribute(findings)
    order = list(findings.data.groups[attribute]) if attribute else []

    def place(tile: Tile) -> int:
        group = tile.groups.get(attribute or "")
        return order.index(group) if group in order else len(order)

    heads = {tile.image_id: tile for tile in sorted(tiles, key=place, reverse=True)}
    faces = tuple(_face(tile) for tile in sorted(heads.values(), key=place))
    rows = (_gallery_row(layout.name(entry), entry.explainer, faces, tiles) for entry in layout.ordered(model))
    return Gallery(faces, tuple(row for row in rows if row is not None))


def _face(tile: Tile) -> Face:
    groups = ", ".join(f"{layout.spoken(name)}: {layout.spoken(group)}" for name, group in tile.groups.items())
    return Face(tile, groups, pictures.photo(tile.image))


def _gallery_row(name: str, explainer: str, faces: Sequence[Face], tiles: Sequence[Tile]) -> GalleryRow | None:
    mine = {tile.image_id: tile for tile in tiles if tile.explainer == explainer}
    if not mine:
        return None
    by = pictures.scale([tile.map for tile in mine.values()])
    cells = (_cell(name, mine.get(face.tile.image_id), by) for face in faces)
    return GalleryRow(name, tuple(cells), by, pictures.colour_bar(by.colours))


def _cell(name: str, tile: Tile | None, by: pictures.Scale) -> Cell:
    if tile is None:
        return Cell("", "no map of this image")
    told = f"Map of {name} for image {tile.image_id}, labelled {tile.label}, {_range(tile)}"
    return Cell(pictures.map_image(tile.map, by), told)


def _range(tile: Tile) -> str:
    values: Any = tile.map[np.isfinite(tile.map)]
    if not values.size:
        return "without any finite value"
    return f"values from {numbers.number(float(values.min()))} to {numbers.number(float(values.max()))}"
