"""Datasets as other trainers' files describe them: LLaMA-Factory's `dataset_info.json`, axolotl's `datasets:`."""
