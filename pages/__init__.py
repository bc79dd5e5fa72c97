"""Pages of the app, one file each; their parts are in `pages.ui`."""
