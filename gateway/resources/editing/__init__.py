"""What authors, editors and operators do over HTTP: one noun a module."""
