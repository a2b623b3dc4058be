"""One noun a module: what can be asked over HTTP, with `on_get` and `on_post` as Falcon calls
them."""
