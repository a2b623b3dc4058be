"""A site whose readers have tastes that are known, to judge feeds by what no log can tell."""
