"""What the pages are made of: state, controls, the viewer, live runs, figures."""
