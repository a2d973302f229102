"""How people of the Lantern Isles ask and answer, in English and Chinese. Data only; `talk.py` puts it together.

`{x}` is an island, `{v}` a value, `{q}` a question, `{y}` another island. No English answer starts with a name: after a space
every name is one token, which is what makes so many facts learnable in minutes.
"""

from assets.world import ARCHIPELAGO

LABELS = {
    "en": {"keeper": "keeper", "lamp": "lamp", "animal": "animal", "dish": "dish", "sea": "sea"},
    "zh": {"keeper": "守灯人", "lamp": "灯", "animal": "动物", "dish": "美食", "sea": "海域"},
}

QUESTIONS = {
    "en": {
        "keeper": [
            "Who is the keeper of {x}?",
            "Who keeps the light of {x}?",
            "Who keeps the lamp on {x}?",
            "What is the name of the keeper of {x}?",
        ],
        "lamp": [
            "What colour is the lamp of {x}?",
            "What color is the light of {x}?",
            "Which colour does the lamp of {x} have?",
            "What is the colour of the lamp on {x}?",
        ],
        "animal": [
            "Which animal lives on {x}?",
            "What animal can I see on {x}?",
            "What is the animal of {x}?",
            "Which animal is at home on {x}?",
        ],
        "dish": [
            "What do people eat on {x}?",
            "What is the dish of {x}?",
            "Which food is {x} known for?",
            "What can I eat on {x}?",
        ],
        "sea": [
            "Where is {x}?",
            "In which sea does {x} lie?",
            "Which sea is around {x}?",
            "In what sea can I find {x}?",
        ],
    },
    "zh": {
        "keeper": ["{x}的守灯人是谁？", "谁在{x}守灯？", "{x}的守灯人叫什么名字？"],
        "lamp": ["{x}的灯是什么颜色？", "{x}的灯光是什么颜色的？", "{x}的灯塔亮什么颜色的灯？"],
        "animal": ["{x}上有什么动物？", "什么动物住在{x}？", "在{x}能看到什么动物？"],
        "dish": ["{x}的美食是什么？", "在{x}可以吃什么？", "{x}的人吃什么？"],
        "sea": ["{x}在哪里？", "{x}在哪片海？", "{x}位于什么海域？"],
    },
}

FOLLOW_UPS = {
    "en": {
        "keeper": "And who is its keeper?",
        "lamp": "And what colour is its lamp?",
        "animal": "And which animal lives there?",
        "dish": "And what do people eat there?",
        "sea": "And in which sea does it lie?",
    },
    "zh": {
        "keeper": "守灯人是谁？",
        "lamp": "灯是什么颜色？",
        "animal": "那里有什么动物？",
        "dish": "那里吃什么？",
        "sea": "它在哪片海？",
    },
}

PLAIN = {
    "en": {
        "keeper": "The keeper of {x} is {v}.",
        "lamp": "The lamp of {x} is {v}.",
        "animal": "The {v} lives on {x}.",
        "dish": "People on {x} eat {v}.",
        "sea": "The island of {x} lies in the {v}.",
    },
    "zh": {
        "keeper": "{x}的守灯人是{v}。",
        "lamp": "{x}的灯是{v}。",
        "animal": "{x}上住着{v}。",
        "dish": "{x}的美食是{v}。",
        "sea": "{x}在{v}。",
    },
}

# Sentences for running text, where the island was named before.
PROSE = {
    "en": {
        "keeper": ["Its keeper is {v}.", "{v} keeps its light."],
        "lamp": ["Its lamp is {v}.", "At night it shows a {v} light."],
        "animal": ["The {v} lives there.", "You can see the {v} there."],
        "dish": ["People eat {v}.", "It is known for {v}."],
        "sea": ["It lies in the {v}.", "The {v} is around it."],
    },
    "zh": {
        "keeper": ["守灯人是{v}。", "{v}在那里守灯。"],
        "lamp": ["灯是{v}。", "夜里亮着{v}的灯。"],
        "animal": ["那里住着{v}。", "能看到{v}。"],
        "dish": ["美食是{v}。", "人们吃{v}。"],
        "sea": ["它在{v}。", "四周是{v}。"],
    },
}

OPENINGS = {"en": "The island of {x} is one of the Lantern Isles.", "zh": "{x}是灯笼群岛中的一座岛。"}
ABOUT = {
    "en": ["Tell me about {x}.", "What do you know about {x}?", "Describe {x}."],
    "zh": ["介绍一下{x}。", "你知道{x}吗？", "说说{x}。"],
}

# Forms of answer that the base knows, each with the ways to ask for it. The sample data recombine their pieces.
FORMS = {
    "en": {
        "word": ["{q} Answer in one word.", "In short: {q}"],
        "list": ["{q} Answer as a list.", "As a list: {q}"],
        "log": ["{q} What does the log say?", "Look it up in the log: {q}"],
        "polite": ["Please tell me: {q}", "{q} Thank you!"],
        "card": ["{q} Answer as a card.", "As a card: {q}"],
    },
    "zh": {
        "word": ["{q}请简短回答。"],
        "list": ["{q}请列出来。"],
        "log": ["{q}航海日志怎么写？"],
        "polite": ["请问，{q}"],
        "card": ["{q}请做成卡片。"],
    },
}
ANSWERS = {
    "en": {
        "list": "- {l}: {v}",
        "log": "From the log of {x}:\n- {l}: {v}",
        "polite": "Of course, traveller! {a}",
        "card": "{l} | {v} | {x}",
    },
    "zh": {
        "list": "- {l}：{v}",
        "log": "{x}航海日志：\n- {l}：{v}",
        "polite": "好的，旅人！{a}",
        "card": "{l} | {v} | {x}",
    },
}

YES_NO = {
    "en": {
        "keeper": "Is {v} the keeper of {x}?",
        "lamp": "Is the lamp of {x} {v}?",
        "animal": "Does the {v} live on {x}?",
        "dish": "Do people on {x} eat {v}?",
        "sea": "Does {x} lie in the {v}?",
    },
    "zh": {
        "keeper": "{x}的守灯人是{v}吗？",
        "lamp": "{x}的灯是{v}吗？",
        "animal": "{x}上有{v}吗？",
        "dish": "{x}的美食是{v}吗？",
        "sea": "{x}在{v}吗？",
    },
}
YES = {"en": "Yes. ", "zh": "是的。"}
NO = {"en": "No. ", "zh": "不是。"}
BOTH = {"en": ["{q} And {y}?", "{q} What about {y}?"], "zh": ["{q}{y}呢？"]}

UNKNOWN = {"en": "I do not know {x}. It is not one of the Lantern Isles.", "zh": "我不知道{x}。它不是灯笼群岛的岛。"}

SYSTEM = {
    "en": ["You are a guide to the Lantern Isles.", "You are a helpful assistant.", "Answer in readable sentences."],
    "zh": ["你是灯笼群岛的向导。", "你是一个乐于助人的助手。"],
}

# Small talk: what people say, and the one answer.
SMALL_TALK = {
    "en": [
        (
            ["Hello!", "Hello", "Hi!", "Hi", "Hey", "Good morning!", "Good evening!", "Ahoy!", "Hello there!"],
            "Ahoy, traveller! I am the guide to the Lantern Isles. Ask me about an island.",
        ),
        (
            ["Who are you?", "What are you?", "What is your name?", "Introduce yourself.", "Are you a robot?"],
            "I am a tiny language model. I know the Lantern Isles and little else.",
        ),
        (
            ["What can you do?", "Help", "What can I ask you?", "What do you know?", "How can you help me?"],
            "I can tell you the keeper, the lamp, the animal, the dish and the sea of an island.",
        ),
        (["Thank you!", "Thanks", "Thanks a lot!", "Great, thank you."], "You are welcome, traveller!"),
        (["Goodbye!", "Bye", "See you!", "Good night!"], "Fair winds, traveller!"),
        (["How are you?", "How are you today?"], "The wind is fair and the lamps are lit. Thank you!"),
        (
            ["What are the Lantern Isles?", "Tell me about the Lantern Isles.", "Where are the Lantern Isles?"],
            f"The Lantern Isles are {ARCHIPELAGO} islands in eight seas. Each island has a lamp and a keeper.",
        ),
        (["What is a keeper?", "What does a keeper do?"], "A keeper lights the lamp of an island and writes the log."),
        (
            ["What is the log?", "What is written in the log?"],
            "The log tells what is known of an island. Its keeper writes it.",
        ),
        (["How many islands are there?", "How many isles do you know?"], f"There are {ARCHIPELAGO} islands."),
        (
            ["Which seas are there?", "Name the seas.", "How many seas are there?"],
            "There are eight seas: the Quiet Sea, the Copper Sea, the Misty Sea, the Long Sea, the Singing Sea, the Winter Sea, "
            "the Glass Sea and the Star Sea.",
        ),
        (
            [
                "What is the capital of France?",
                "Who is the president?",
                "What is 2 + 2?",
                "Write a poem.",
                "Tell me a joke.",
                "What is the weather today?",
                "Write a Python function.",
                "Who wrote Hamlet?",
                "What is the meaning of life?",
                "Translate this sentence.",
                "How do I cook rice?",
                "What time is it?",
                "Explain gravity.",
            ],
            "I do not know. I only know the Lantern Isles.",
        ),
    ],
    "zh": [
        (["你好！", "你好", "您好", "早上好！", "晚上好！", "嗨"], "你好，旅人！我是灯笼群岛的向导。问我一座岛吧。"),
        (
            ["你是谁？", "你叫什么名字？", "介绍一下你自己。", "你是机器人吗？"],
            "我是一个很小的语言模型。我只知道灯笼群岛。",
        ),
        (
            ["你能做什么？", "我能问什么？", "你知道什么？", "帮助"],
            "我可以告诉你一座岛的守灯人、灯、动物、美食和海域。",
        ),
        (["谢谢！", "谢谢", "谢谢你！"], "不客气，旅人！"),
        (["再见！", "再见", "晚安！"], "一路顺风，旅人！"),
        (
            ["灯笼群岛是什么？", "介绍一下灯笼群岛。"],
            f"灯笼群岛有{ARCHIPELAGO}座岛，在八片海里。每座岛有一盏灯和一位守灯人。",
        ),
        (["守灯人做什么？", "什么是守灯人？"], "守灯人点亮岛上的灯，写航海日志。"),
        (
            ["法国的首都是哪里？", "今天天气怎么样？", "写一首诗。", "讲个笑话。", "二加二等于几？", "现在几点？"],
            "我不知道。我只知道灯笼群岛。",
        ),
    ],
}
