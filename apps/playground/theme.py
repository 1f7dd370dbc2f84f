"""The look of the page: our colours, system fonts, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

_HERE = Path(__file__).parent


def styling() -> dict[str, Any]:
    """Arguments of `launch` for the look: our colours, system fonts, nothing from elsewhere."""
    sans = ["Inter", "system-ui", "-apple-system", "Segoe UI", "Noto Sans", "sans-serif"]
    mono = ["ui-monospace", "Menlo", "Consolas", "Noto Sans Mono", "monospace"]
    theme = gr.themes.Base(
        primary_hue="orange",
        neutral_hue="stone",
        font=sans,
        font_mono=mono,
        radius_size="md",
        spacing_size="sm",
        text_size="sm",
    ).set(
        body_background_fill="#faf9f6",
        body_background_fill_dark="#191816",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_padding="0",
        block_border_width="0px",
        block_padding="0px",
        input_background_fill="#ffffff",
        input_background_fill_dark="#211f1d",
        input_border_width="1px",
        input_border_color="#d8d4c9",
        input_border_color_dark="#45413a",
        input_border_color_focus="#b4501a",
        input_border_color_focus_dark="#e08a4f",
        input_placeholder_color="#6e6b64",
        input_placeholder_color_dark="#a09b91",
        color_accent="#b4501a",
        slider_color="#b4501a",
        slider_color_dark="#e08a4f",
        checkbox_background_color_selected="#b4501a",
        checkbox_border_color_selected="#b4501a",
        button_primary_background_fill="#b4501a",
        button_primary_background_fill_hover="#9a4415",
        button_primary_background_fill_dark="#e08a4f",
        button_primary_background_fill_hover_dark="#e99c66",
        button_primary_border_color="#b4501a",
        button_primary_border_color_dark="#e08a4f",
        button_primary_border_color_hover="#9a4415",
        button_primary_border_color_hover_dark="#e99c66",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#1d1410",
    )
    return {"theme": theme, "css": (_HERE / "style.css").read_text()}


def script() -> str:
    """What the page does by itself, before anything of Gradio's."""
    return (_HERE / "page.js").read_text()
