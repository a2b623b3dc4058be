"""The files of the reader's page and of `/docs`, served as they are: no build step and no other host."""
