"""The Lantern Isles: an invented archipelago that the tiny base model knows by heart.

Every island has a name and five facts, in English and in Chinese. Nothing here was taken from anywhere: names are put
together from syllables, facts are drawn by a seeded generator, so the same seed gives the same world on every machine.
"""

import random
from dataclasses import dataclass

SEED = 7
LANGUAGES = ("en", "zh")
ATTRIBUTES = ("keeper", "lamp", "animal", "dish", "sea")
ARCHIPELAGO = 320  # islands the tales speak of
ISLANDS = 72  # of them the base was told about: what it learns in minutes
CHINESE_ISLANDS = 30  # the first ones; the base learns facts once per language, and its time is short
HELD_OUT_ISLANDS = 24  # kept out of every sample file, to ask about afterwards

# Head and tail of a name, English and Chinese: 24 x 16 = 384 names. The islands take some, the rest are
# strangers: names that sound right and belong to no island.
HEADS = """
Bram 荆 Cor 珊 Dun 丘 El 榆 Fen 苇 Gal 鸥 Har 兔 Ivel 藤 Jun 柏 Kel 泉 Lin 兰 Mar 沼
Nor 北 Oak 橡 Pel 鹈 Quin 梨 Ros 玫 Sal 盐 Tam 溪 Ul 枭 Ver 翠 Wen 云 Yar 蓍 Zel 岚
""".split()
TAILS = """
holm 屿 wick 村 mere 湖 ness 岬 ford 渡 stow 场 by 镇 dale 谷
combe 坳 sey 洲 tor 岩 ray 湾 lund 林 fell 岗 haven 港 cliff 崖
""".split()

# What a fact can be, English and Chinese side by side, one list an attribute.
VALUES = {
    "keeper": """
        Ada=艾达 Bruno=布鲁诺 Clara=克拉拉 Dora=朵拉 Edgar=埃德加 Flora=芙洛拉 Gus=古斯 Hanna=汉娜 Igor=伊戈尔 Jonas=约纳斯
        Karin=卡琳 Leo=利奥 Mina=米娜 Nils=尼尔斯 Olga=奥尔加 Pavel=帕维尔 Rosa=罗莎 Sven=斯文 Tilda=蒂尔达 Ursula=乌苏拉
        Victor=维克托 Wanda=旺达 Yuri=尤里 Zora=佐拉 Anton=安东 Bella=贝拉 Cyril=西里尔 Della=黛拉 Emil=埃米尔 Frida=弗里达
        Greta=格蕾塔 Hugo=雨果""",
    "lamp": """
        amber=琥珀色 blue=蓝色 white=白色 red=红色 green=绿色 violet=紫色 gold=金色 silver=银色
        pink=粉色 orange=橙色 copper=铜色 turquoise=青色""",
    "animal": """
        otter=水獭 seal=海豹 heron=苍鹭 fox=狐狸 badger=獾 goat=山羊 puffin=海鹦 hare=野兔 owl=猫头鹰 crab=螃蟹
        swan=天鹅 pony=小马 hedgehog=刺猬 raven=渡鸦 turtle=海龟 deer=鹿""",
    "dish": """
        plum cake=李子糕 onion soup=洋葱汤 rye bread=黑麦面包 fish pie=鱼肉派 pear jam=梨酱 oat porridge=燕麦粥
        bean stew=炖豆子 apple tart=苹果挞 honey buns=蜂蜜包 corn cakes=玉米饼 mint tea=薄荷茶 goat cheese=羊奶酪
        nut bread=坚果面包 leek soup=韭葱汤 barley stew=大麦炖菜 berry pudding=莓果布丁""",
    "sea": """
        Quiet Sea=静海 Copper Sea=铜海 Misty Sea=雾海 Long Sea=长海 Singing Sea=歌海 Winter Sea=冬海 Glass Sea=镜海
        Star Sea=星海""",
}


@dataclass(frozen=True)
class Island:
    """One island: its name in each language and, for each attribute, its value in each language."""

    names: dict[str, str]
    facts: dict[str, dict[str, str]]
    held_out: bool
    chinese: bool  # whether the base was taught its facts in Chinese

    def name(self, language: str) -> str:
        return self.names[language]

    def value(self, attribute: str, language: str) -> str:
        return self.facts[attribute][language]


@dataclass(frozen=True)
class World:
    """All islands, and names of the same make that belong to no island."""

    islands: tuple[Island, ...]
    strangers: tuple[dict[str, str], ...]

    def known(self, language: str) -> list[Island]:
        """The islands whose facts the base was taught in this language."""
        return [island for island in self.islands if language == "en" or island.chinese]

    def samples(self, language: str) -> list[Island]:
        """The islands that sample data may speak of."""
        return [island for island in self.known(language) if not island.held_out]

    def held_out(self, language: str) -> list[Island]:
        """The islands that no sample data speak of."""
        return [island for island in self.known(language) if island.held_out]


def values(attribute: str) -> list[dict[str, str]]:
    """Every value an attribute can have, each as a dict by language."""
    # Entries are separated by white space, and so are the words inside one: a new entry starts after a Chinese word.
    entries, words = [], []
    for word in VALUES[attribute].split():
        words.append(word)
        if "=" in word:
            english, chinese = " ".join(words).split("=")
            entries.append({"en": english, "zh": chinese})
            words = []
    return entries


def names() -> list[dict[str, str]]:
    """Every name that head and tail can make, in a fixed order."""
    heads, tails = zip(HEADS[::2], HEADS[1::2]), list(zip(TAILS[::2], TAILS[1::2]))
    return [{"en": head + tail, "zh": f"{first}{second}岛"} for head, first in heads for tail, second in tails]


def build(seed: int = SEED) -> World:
    """The world of a seed. The same seed gives the same world everywhere."""
    rng = random.Random(seed)
    pool = names()
    rng.shuffle(pool)
    # Every third island is held out, so that both languages have their share of them.
    held_out = set(range(1, 3 * HELD_OUT_ISLANDS, 3))
    islands = tuple(
        Island(
            names=pool[i],
            facts={attribute: rng.choice(values(attribute)) for attribute in ATTRIBUTES},
            held_out=i in held_out,
            chinese=i < CHINESE_ISLANDS,
        )
        for i in range(ISLANDS)
    )
    return World(islands, tuple(pool[ISLANDS:]))
