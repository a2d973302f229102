"""What everything else stands on: problems and their sentences, units, fields as text, limits of time."""
