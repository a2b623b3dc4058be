"""The files of the pages, served by the gateway and copied into the static site."""
