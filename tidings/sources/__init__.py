"""Where articles come from: who delivers them, when each is asked again, and what came of it."""
