"""The site as files: complete HTML pages, feeds and a sitemap, for any web server to send."""
