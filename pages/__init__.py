"""The pages of the app, one file each; what they are made of is in `pages.ui`."""
