"""Parts of the pages, grouped by purpose."""
