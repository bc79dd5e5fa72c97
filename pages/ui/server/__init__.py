"""The web server: checks of every request, and corrections to Streamlit."""
