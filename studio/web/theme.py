"""Gradio's theme and the style sheets: system fonts (no request leaves the machine), colours from `tokens.css`."""

from __future__ import annotations

import inspect
from pathlib import Path

import gradio as gr

from studio import shipped

FONTS = (
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans SC",
    "Noto Sans CJK SC",
    "sans-serif",
)
MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Noto Sans Mono", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """Calm and dense; every colour is a variable of `assets/theme/tokens.css`, which has both modes."""
    colours = {
        "body_background_fill": "var(--ls-ground)",
        "body_text_color": "var(--ls-ink)",
        "body_text_color_subdued": "var(--ls-muted)",
        "background_fill_primary": "var(--ls-panel)",
        "background_fill_secondary": "var(--ls-sunken)",
        "block_background_fill": "transparent",
        "block_label_background_fill": "transparent",
        "block_label_text_color": "var(--ls-muted)",
        "block_title_text_color": "var(--ls-ink)",
        "block_info_text_color": "var(--ls-muted)",
        "border_color_primary": "var(--ls-line)",
        "border_color_accent": "var(--ls-accent)",
        "color_accent": "var(--ls-accent)",
        "color_accent_soft": "var(--ls-accent-soft)",
        "input_background_fill": "var(--ls-panel)",
        "input_border_color": "var(--ls-field)",
        "input_placeholder_color": "var(--ls-muted)",
        "button_primary_background_fill": "var(--ls-accent)",
        "button_primary_background_fill_hover": "var(--ls-accent-strong)",
        "button_primary_text_color": "var(--ls-on-accent)",
        "button_secondary_background_fill": "var(--ls-panel)",
        "button_secondary_background_fill_hover": "var(--ls-sunken)",
        "button_secondary_border_color": "var(--ls-field)",
        "button_secondary_text_color": "var(--ls-ink)",
        "button_cancel_background_fill": "var(--ls-panel)",
        "button_cancel_border_color": "var(--ls-bad)",
        "button_cancel_text_color": "var(--ls-bad)",
        "slider_color": "var(--ls-accent)",
        "checkbox_background_color_selected": "var(--ls-accent)",
        "checkbox_label_background_fill_selected": "var(--ls-accent-soft)",
        "checkbox_label_text_color_selected": "var(--ls-ink)",
        "link_text_color": "var(--ls-accent)",
        "link_text_color_hover": "var(--ls-accent-strong)",
        "table_even_background_fill": "var(--ls-panel)",
        "table_odd_background_fill": "var(--ls-sunken)",
    }
    sizes = {
        "block_border_width": "0px",
        "block_padding": "0px",
        "block_shadow": "none",
        "block_label_padding": "0 0 4px 0",
        "block_title_text_weight": "600",
        "layout_gap": "16px",
        "button_large_radius": "6px",
        "button_small_radius": "6px",
        "input_shadow": "none",
        "input_border_width": "1px",
    }
    base = gr.themes.Base(
        font=list(FONTS),
        font_mono=list(MONO),
        text_size=gr.themes.sizes.text_sm,
        spacing_size=gr.themes.sizes.spacing_sm,
        radius_size=gr.themes.sizes.radius_sm,
    )
    takes_dark = inspect.signature(base.set).parameters
    dark = {f"{name}_dark": value for name, value in colours.items() if f"{name}_dark" in takes_dark}
    return base.set(**colours, **dark, **sizes)


def style_sheets() -> list[Path]:
    """`tokens.css` first, then the page's frame, then a sheet for each tab."""
    first = [shipped.theme() / "tokens.css", shipped.theme() / "frame.css"]
    return first + sorted(set(shipped.theme().glob("*.css")) - set(first))
