"""Where candidates come from: one file a source, and each says what it proposes."""
