"""What a training worker measures and reports while it trains: held-out rows, its own peak, lines for the journal."""
