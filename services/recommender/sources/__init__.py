"""Where candidates come from: one file a source, each of which says what it proposes."""
