"""Page of the report: one HTML file that needs no other file and no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mavis.analysis.findings import Findings, ModelFindings
from mavis.report import layout, model_summary, numbers, text_tables, wording
from mavis.report.html import figures, images, plots
from mavis.report.html.gallery import Tile

CURVE_LEGEND = "dashed: the most influential cells are removed first; solid: the least influential first"


def render_page(findings: Findings, curves: pd.DataFrame, tiles: Sequence[Tile]) -> str:
    """The page as text.

    Args:
        findings: what the run found.
        curves: as `mavis.report.write_report` takes them.
        tiles: images with their maps.
    """
    template = Environment(
        loader=PackageLoader("mavis.report.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.j2")
    attribute = layout.first_attribute(findings)
    views = [_model_view(findings, model, curves, tiles) for model in findings.models]
    return template.render(
        findings=findings,
        views=views,
        attribute=attribute,
        columns=layout.metric_columns(findings.models),
        accuracy_figure=figures.accuracy_figure(findings, attribute) if attribute else "",
        protocol=findings.protocol,
        data=findings.data,
        run=findings.run,
        share=f"{findings.protocol.confidence * 100:g} %",
        number=numbers.format_number,
        wording=wording,
        model_summary=model_summary,
        text_tables=text_tables,
        layout=layout,
        numbers=numbers,
        cue_detections=text_tables.cue_detection_table(findings),
        has_skills=any(layout.skill_categories(model) for model in findings.models),
        has_tiles=bool(tiles),
        add_line_breaks=add_line_breaks,
    )


def add_line_breaks(name: str) -> Markup:
    """A metric's name that may break after each underscore."""
    return Markup("_<wbr>").join(name.split("_"))


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure with its caption.

    Attributes:
        caption: what it shows and how to read it.
        svg: an element of the page.
    """

    caption: str
    svg: Markup


@dataclass(frozen=True)
class GalleryCell:
    """A map in the gallery, or the reason for an empty cell.

    Attributes:
        png: a data URI; empty where there is no map.
        description: the text for readers who cannot see it.
    """

    png: str
    description: str


@dataclass(frozen=True)
class GalleryRow:
    """One explainer's maps on one scale.

    Attributes:
        name: the explainer with its role.
        cells: one per face.
        scale: what the colours mean.
        colour_bar: the colours, a data URI.
    """

    name: str
    cells: tuple[GalleryCell, ...]
    scale: images.ColourScale
    colour_bar: str


@dataclass(frozen=True)
class GalleryHeader:
    """An image at the head of a column of the gallery.

    Attributes:
        tile: any tile with this image.
        groups_text: its annotations in words.
        png: a data URI.
    """

    tile: Tile
    groups_text: str
    png: str


@dataclass(frozen=True)
class Gallery:
    """Explainers by images, for one model."""

    headers: tuple[GalleryHeader, ...]
    rows: tuple[GalleryRow, ...]


@dataclass(frozen=True)
class ModelView:
    """Figures and tables of one model on the page; curves per imputer."""

    model: ModelFindings
    ranking: Markup
    groups: Markup
    curves: Mapping[str, Sequence[CaptionedFigure]]
    gallery: Gallery
    reliability: text_tables.TextTable | None
    agreement: text_tables.TextTable | None


def _model_view(findings: Findings, model: ModelFindings, curves: pd.DataFrame, tiles: Sequence[Tile]) -> ModelView:
    attribute = layout.first_attribute(findings)
    return ModelView(
        model=model,
        ranking=figures.ranking_figure(findings, model, attribute),
        groups=figures.group_figure(findings, model, attribute) if attribute else Markup(""),
        curves=_curve_figures(findings, model, curves),
        gallery=_gallery(findings, model, [tile for tile in tiles if tile.model == model.model]),
        reliability=text_tables.reliability_table(findings, model),
        agreement=text_tables.agreement_table(findings, model),
    )


def _curve_figures(findings: Findings, model: ModelFindings, curves: pd.DataFrame) -> dict[str, list[CaptionedFigure]]:
    """Per imputer every explainer over all images, and the best ranked one per group."""
    mine = curves[curves["model"] == model.model]
    entries = layout.entries_by_rank(model)
    figures_by_imputer = {}
    for imputer, rows in mine.groupby("imputer", sort=False):
        all_images = rows[rows["group"] == ""]
        panels = {
            layout.entry_label(entry): all_images[all_images["explainer"] == entry.explainer] for entry in entries
        }
        caption = f"All images; imputer: {imputer}. {CURVE_LEGEND.capitalize()}. The shaded area is the gain."
        pictures = [
            *_captioned_figures(panels, caption, model),
            *_group_curve_figures(findings, model, rows, str(imputer)),
        ]
        if pictures:
            figures_by_imputer[str(imputer)] = pictures
    return figures_by_imputer


def _group_curve_figures(
    findings: Findings, model: ModelFindings, rows: pd.DataFrame, imputer: str
) -> Iterator[CaptionedFigure]:
    attribute = layout.first_attribute(findings)
    leader = next((entry.explainer for entry in layout.entries_by_rank(model) if entry.rank is not None), None)
    if attribute is None or leader is None:
        return
    mine = rows[(rows["explainer"] == leader) & (rows["attribute"] == attribute)]
    panels = {}
    for group in findings.data.groups[attribute]:
        part = mine[mine["group"] == group]
        if len(part) and part["n"].min() >= findings.protocol.min_report:
            panels[f"{layout.group_name(attribute, group)} (n={part['n'].max():.0f})"] = part
    title = f"{leader} by {layout.display_name(attribute)}, as labelled; imputer: {imputer}."
    caption = f"{title} {CURVE_LEGEND.capitalize()}."
    yield from _captioned_figures(panels, caption, model)


def _captioned_figures(
    panels: dict[str, pd.DataFrame], caption: str, model: ModelFindings
) -> Iterator[CaptionedFigure]:
    if svg := plots.plot_curves(panels, description=f"Perturbation curves on {model.model}. {caption}"):
        yield CaptionedFigure(caption, svg)


def _gallery(findings: Findings, model: ModelFindings, tiles: Sequence[Tile]) -> Gallery:
    attribute = layout.first_attribute(findings)
    order = list(findings.data.groups[attribute]) if attribute else []

    def sort_key(tile: Tile) -> int:
        group = tile.groups.get(attribute or "")
        return order.index(group) if group in order else len(order)

    heads = {tile.image_id: tile for tile in sorted(tiles, key=sort_key, reverse=True)}
    headers = tuple(_gallery_header(tile) for tile in sorted(heads.values(), key=sort_key))
    rows = (
        _gallery_row(layout.entry_label(entry), entry.explainer, headers, tiles)
        for entry in layout.entries_by_rank(model)
    )
    return Gallery(headers, tuple(row for row in rows if row is not None))


def _gallery_header(tile: Tile) -> GalleryHeader:
    groups = ", ".join(f"{attribute}: {group}" for attribute, group in tile.groups.items())
    return GalleryHeader(tile, groups, images.image_uri(tile.image))


def _gallery_row(
    name: str, explainer: str, headers: Sequence[GalleryHeader], tiles: Sequence[Tile]
) -> GalleryRow | None:
    mine = {tile.image_id: tile for tile in tiles if tile.explainer == explainer}
    if not mine:
        return None
    scale = images.shared_scale([tile.map for tile in mine.values()])
    cells = (_gallery_cell(name, mine.get(face.tile.image_id), scale) for face in headers)
    return GalleryRow(name, tuple(cells), scale, images.colour_bar_uri(scale.colour_map))


def _gallery_cell(name: str, tile: Tile | None, scale: images.ColourScale) -> GalleryCell:
    if tile is None:
        return GalleryCell("", "no map of this image")
    description = f"Map of {name} for image {tile.image_id}, labelled {tile.label}, {_value_range(tile)}"
    return GalleryCell(images.map_uri(tile.map, scale), description)


def _value_range(tile: Tile) -> str:
    values: Any = tile.map[np.isfinite(tile.map)]
    if not values.size:
        return "without any finite value"
    return f"values from {numbers.format_number(float(values.min()))} to {numbers.format_number(float(values.max()))}"
