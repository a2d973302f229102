"""What a request meets before any tab: hosts, routes, sizes, the page's language, refusals; and how Gradio is
loaded."""
