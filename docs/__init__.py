"""What makes the site: `conf.py` for Sphinx, and what reads the pages' contents off the code."""
