"""Which tensors a recipe trains, as PEFT makes them, and what PEFT refuses."""
