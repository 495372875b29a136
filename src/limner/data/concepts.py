"""The concepts that scenes are made of: their English names, plurals, colours and emoji.

Only things that stay recognisable at 24 pixels in both art styles are here, and only emoji that show the
concept and nothing else. Several emoji of one concept are further views of it. A colour is named only where
both styles draw it.
"""

from typing import NamedTuple


class View(NamedTuple):
    """One emoji that shows a concept.

    Args:
        emoji: the character sequence.
        colour: colour word true of it in both styles, or "" when colour is not part of the concept.
    """

    emoji: str
    colour: str


class Concept(NamedTuple):
    """A thing that can stand in a scene.

    Args:
        name: singular English noun, one to three words.
        plural: its plural.
        category: animal, food, plant, vehicle, thing, weather, shape or face.
        views: emoji that show it; all have a colour or none has.
        mirrors: whether the mirror image still shows the same thing (a clock does not).
    """

    name: str
    plural: str
    category: str
    views: tuple[View, ...]
    mirrors: bool

    @property
    def colours(self) -> tuple[str, ...]:
        """Colour words of its views, in order; empty when it has no colours."""
        return tuple(view.colour for view in self.views if view.colour)


# category | name [/ irregular plural] | emoji, or colour=emoji | "fixed" when it must not be mirrored
_TABLE = """
animal | dog | 🐕 🐶
animal | cat | 🐈 🐱
animal | mouse / mice | 🐁 🐭
animal | rabbit | 🐇 🐰
animal | fox | 🦊
animal | bear | 🐻
animal | panda | 🐼
animal | koala | 🐨
animal | tiger | 🐅 🐯
animal | lion | 🦁
animal | cow | 🐄 🐮
animal | pig | 🐖 🐷
animal | frog | 🐸
animal | monkey | 🐒 🐵
animal | gorilla | 🦍
animal | horse | 🐎 🐴
animal | unicorn | 🦄
animal | zebra | 🦓
animal | elephant | 🐘
animal | giraffe | 🦒
animal | camel | 🐪 🐫
animal | sheep / sheep | 🐑
animal | deer / deer | 🦌
animal | kangaroo | 🦘
animal | hedgehog | 🦔
animal | squirrel | 🐿️
animal | bat | 🦇
animal | chicken | 🐔
animal | chick | 🐤 🐥
animal | penguin | 🐧
animal | owl | 🦉
animal | eagle | 🦅
animal | duck | 🦆
animal | swan | 🦢
animal | flamingo | 🦩
animal | peacock | 🦚
animal | parrot | 🦜
animal | turtle | 🐢
animal | snake | 🐍
animal | lizard | 🦎
animal | crocodile | 🐊
animal | dinosaur | 🦕 🦖
animal | octopus | 🐙
animal | crab | 🦀
animal | fish / fish | 🐟 🐠
animal | dolphin | 🐬
animal | whale | 🐋 🐳
animal | shark | 🦈
animal | snail | 🐌
animal | butterfly | 🦋
animal | bee | 🐝
animal | ladybug | 🐞
animal | ant | 🐜
animal | spider | 🕷️
food | apple | red=🍎 green=🍏
food | pear | 🍐
food | lemon | 🍋
food | banana | 🍌
food | strawberry | 🍓
food | peach | 🍑
food | pineapple | 🍍
food | avocado | 🥑
food | eggplant | 🍆
food | carrot | 🥕
food | mushroom | 🍄
food | croissant | 🥐
food | pretzel | 🥨
food | egg | 🥚
food | hamburger | 🍔
food | pizza | 🍕
food | taco | 🌮
food | doughnut | 🍩
food | cookie | 🍪
food | cake | 🎂
food | cupcake | 🧁
food | lollipop | 🍭
food | ice cream | 🍦
food | teapot | 🫖
plant | tree | 🌳 🌲
plant | palm tree | 🌴
plant | cactus / cacti | 🌵
plant | sunflower | 🌻
plant | tulip | 🌷
plant | rose | 🌹
plant | maple leaf / maple leaves | 🍁
plant | clover | 🍀
vehicle | car | red=🚗 blue=🚙
vehicle | taxi | 🚕 | fixed
vehicle | bus | 🚌 🚍 | fixed
vehicle | ambulance | 🚑
vehicle | fire engine | 🚒
vehicle | truck | 🚛
vehicle | tractor | 🚜
vehicle | bicycle | 🚲
vehicle | motorcycle | 🏍️
vehicle | train | 🚂 🚆
vehicle | plane | ✈️
vehicle | helicopter | 🚁
vehicle | rocket | 🚀
vehicle | ship | 🚢
vehicle | sailboat | ⛵
vehicle | canoe | 🛶
vehicle | flying saucer | 🛸
thing | anchor | ⚓
thing | umbrella | ☂️
thing | soccer ball | ⚽
thing | basketball | 🏀
thing | tennis ball | 🎾
thing | trophy | 🏆
thing | guitar | 🎸
thing | violin | 🎻
thing | trumpet | 🎺
thing | drum | 🥁
thing | key | 🔑 🗝️
thing | lock | 🔒
thing | hammer | 🔨
thing | pencil | ✏️
thing | book | red=📕 green=📗 blue=📘 orange=📙
thing | bell | 🔔
thing | clock | 🕒 ⏰ | fixed
thing | watch | ⌚ | fixed
thing | telephone | ☎️
thing | laptop | 💻
thing | camera | 📷
thing | television | 📺
thing | light bulb | 💡
thing | candle | 🕯️
thing | gift | 🎁
thing | balloon | 🎈
thing | kite | 🪁
thing | chair | 🪑
thing | door | 🚪
thing | house | 🏠
thing | castle | 🏰
thing | tent | ⛺
thing | crown | 👑
thing | top hat | 🎩
thing | ring | 💍
thing | shoe | 👟 👞
thing | shirt | 👕
thing | dress | 👗
thing | backpack | 🎒
thing | envelope | ✉️
thing | magnet | 🧲
thing | bomb | 💣
thing | spoon | 🥄
thing | robot | 🤖
thing | ghost | 👻
thing | skull | 💀
thing | alien | 👽
thing | snowman / snowmen | ⛄
thing | pumpkin | 🎃
thing | traffic light | 🚦 🚥
thing | hand | ✋
thing | ear | 👂
thing | eye | 👁️
thing | tooth / teeth | 🦷
thing | bone | 🦴
weather | sun | ☀️ 🌞
weather | moon | 🌙
weather | star | ⭐
weather | cloud | ☁️
weather | rainbow | 🌈
weather | snowflake | ❄️
weather | lightning bolt | ⚡
weather | tornado | 🌪️
weather | flame | 🔥
weather | water drop | 💧
weather | volcano / volcanoes | 🌋
shape | heart | red=❤️ orange=🧡 yellow=💛 green=💚 blue=💙 purple=💜 brown=🤎 black=🖤 white=🤍 pink=🩷
shape | circle | red=🔴 orange=🟠 yellow=🟡 green=🟢 blue=🔵 purple=🟣 brown=🟤 black=⚫ white=⚪
shape | square | red=🟥 orange=🟧 yellow=🟨 green=🟩 blue=🟦 purple=🟪 brown=🟫 black=⬛ white=⬜
shape | diamond | orange=🔶 blue=🔷
shape | triangle | 🔺
face | smiling face | 😀 😃 😄
face | crying face | 😭
face | angry face | 😡
face | sleeping face | 😴
face | surprised face | 😮 😲
face | face with sunglasses / faces with sunglasses | 😎
"""


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def _view(entry: str) -> View:
    colour, _, emoji = entry.rpartition("=")
    return View(emoji, colour)


def _concept(line: str) -> Concept:
    category, names, emoji, *fixed = (part.strip() for part in line.split("|"))
    name, _, plural = (part.strip() for part in names.partition("/"))
    views = tuple(_view(entry) for entry in emoji.split())
    return Concept(name, plural or _plural(name), category, views, mirrors=not fixed)


CONCEPTS: tuple[Concept, ...] = tuple(_concept(line) for line in _TABLE.strip().splitlines())
BY_NAME: dict[str, Concept] = {concept.name: concept for concept in CONCEPTS}
