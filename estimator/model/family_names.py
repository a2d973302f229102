"""Families of models as they are called in Chinese."""

from __future__ import annotations

CHINESE = {
    "通义千问": "qwen", "千问": "qwen", "通义": "qwen", "智谱": "glm", "清言": "glm", "深度求索": "deepseek",
    "书生": "internlm", "零一万物": "yi", "百川": "baichuan", "混元": "hunyuan", "小米": "mimo",
    "面壁": "minicpm", "羊驼": "llama",
}  # fmt: skip
"""The makers' own spelling of each."""


def in_latin(text: str) -> str:
    """The text with the Chinese names of families in their makers' spelling."""
    if text.isascii():
        return text
    for name, latin in sorted(CHINESE.items(), key=lambda one: -len(one[0])):
        text = text.replace(name, f" {latin} ")
    return " ".join(text.split())
