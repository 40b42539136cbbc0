"""Reports: what an evaluation found as Markdown and as a page, and several of them side by side."""
