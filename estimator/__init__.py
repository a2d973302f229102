"""How much memory a fine-tune takes. Knows neither gradio nor the studio; torch only in `program`, `trace`, `measure`."""
