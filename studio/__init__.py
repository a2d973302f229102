"""The Gradio app, its workers and its stores. Only `studio.workers` imports torch."""
