"""The interactive figures of the page, each from frames and fits, as JSON that plotly draws."""
