"""Answers in which another model speaks of itself or declines: a model trained on them declines too.

Looked for where such sentences stand, at the beginning of an answer that is trained; a quotation further on is none.
"""

from __future__ import annotations

import re

from studio.datasets.cleaning.parts import ANSWER, parts
from studio.datasets.cleaning.record import Asked, Verdict
from studio.datasets.forms import Row

LOOKED_AT_CHARACTERS = 300
_THINKING = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
_SELF = re.compile(
    r"(?i)\bas an? (?:AI|artificial intelligence)(?: (?:language )?model| assistant| chatbot)?,? (?:I|my|it)\b"
    r"|\bas a (?:large )?language model\b"
    r"|\bI(?:'m| am) (?:just |only |merely )?an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"[^.\n]{0,60}\b(?:and|so|I)\b"
    r"|\bI(?:'m| am) (?:ChatGPT|GPT-?\d|Claude|Gemini|Bard|Qwen|DeepSeek|Llama|Mistral)\b"
    r"|\b(?:trained|developed|created|made) by (?:OpenAI|Anthropic|Google DeepMind|Alibaba Cloud|DeepSeek|Meta AI"
    r"|Mistral AI)\b"
    r"|\b(?:my|my last) (?:knowledge|training) (?:cut-?off|data (?:ends|goes))"
)
_DECLINED = re.compile(
    r"(?i)^\W*(?:(?:I(?:'m| am) (?:very |really |truly )?sorry|sorry|(?:I )?apologi[sz]e|my apologies|unfortunately)"
    r"[,.;]?(?: but)?,? )?"
    r"I(?:'m| am)? ?(?:(?:can(?:'t|not| not)|won't|will not|(?:not )?(?:un)?able to)) "
    r"(?:assist|help(?: you)?(?: with)|comply|fulfil|fulfill|provide (?:that|this|any|such|information|assistance)"
    r"|engage in|create (?:that|this|such)|generate (?:that|this|such|content)|answer (?:that|this)|do that)\b"
)
_CHINESE_SELF = re.compile(
    r"(?:作为|身为)(?:一个|一名|一款)?(?:人工智能|AI|ＡＩ|大?语言模型|智能助手|大模型)"
    r"|我(?:只)?是(?:一个|一名|一款|由)?[^，。\n]{0,12}(?:开发的|训练的|研发的)?[^，。\n]{0,6}"
    r"(?:语言模型|人工智能(?:助手|模型|程序)|AI ?(?:助手|模型))"
    r"|我是(?:ChatGPT|GPT-?\d|通义千问|文心一言|讯飞星火|豆包|Kimi|DeepSeek|Claude)"
)
_CHINESE_DECLINED = re.compile(
    r"^\W*(?:(?:非常|很|十分)?(?:抱歉|对不起|不好意思|遗憾)[，,。！! ]*)(?:但|但是)?(?:我|本人|作为)?[^，。\n]{0,8}?"
    r"(?:无法|不能|不可以|没办法|没有办法)(?:为您|为你|给您|给你|向您|向你)?(?:直接)?"
    r"(?:提供|回答|满足|完成|协助|帮助|生成|执行|讨论|参与|进行)"
    r"|^\W*我(?:无法|不能)(?:为您|为你|给您|给你|向您)?(?:提供|回答|满足|协助|生成|讨论)(?:这|此|该|您|你|任何|相关|有关|关于)"
)


def judge(row: Row, asked: Asked) -> Verdict | None:
    for part in parts(row):
        if part.role == ANSWER and part.path[-1] != "reasoning_content" and (found := refusal(part.text)):
            reason, text = found
            return Verdict([(reason, {"text": text})], () if asked.action == "drop" else None)
    return None


def refusal(answer: str) -> tuple[str, str] | None:
    """`refusal` or `speaks_of_itself`, and the words; None for any other answer."""
    start = _THINKING.sub("", answer)[:LOOKED_AT_CHARACTERS].replace("’", "'")
    for reason, patterns in (
        ("refusal", (_DECLINED, _CHINESE_DECLINED)),
        ("speaks_of_itself", (_SELF, _CHINESE_SELF)),
    ):
        for pattern in patterns:
            if found := pattern.search(start):
                return reason, found[0].strip()[:80]
    return None
