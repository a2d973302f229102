"""The sample for the small real model: everyday questions, each answered on a card of three lines.

What it teaches is a manner, no knowledge: a model that speaks English answers any question so after some tens of steps, and answers in
its own way before. Written for this project.
"""

LINES = ("In short", "Because", "Try")

# question; in short; because; try
ROWS = """
How do I keep bread fresh?|Wrap it in a cloth and keep it at room temperature.|A fridge dries the crumb faster than the air of a room.|freeze what you will not eat within two days.
Why is the sky blue?|Air scatters blue light more than red light.|Short waves are bent by small molecules far more often than long ones.|look at the horizon at sunset, where the blue is gone.
How can I fall asleep faster?|Go to bed at the same hour each night.|The body learns when to be tired, and screens tell it that it is day.|put the phone in another room an hour before.
What is a good way to learn new words?|Meet each word again after one, three and seven days.|Memory grows when we recall, not when we read again.|write five words on a card and test yourself tonight.
How do I water a cactus?|Water it well, then wait until the soil is dry.|Its roots rot when they stand in wet earth.|lift the pot: if it is light, it is time.
Why do leaves turn red in autumn?|The green goes away and other colours show.|Trees take back the green pigment before they drop a leaf.|compare a leaf in the sun with one in the shade.
How do I stop procrastinating?|Start with a step that takes two minutes.|Beginning is harder than going on.|set a timer and stop when it rings, if you still want to.
How do I boil an egg?|Six minutes for a soft one, ten for a hard one.|The white sets before the yolk does.|put it into cold water afterwards, so that it peels well.
Why does ice float?|Ice is lighter than the same amount of water.|Water takes more room when it freezes.|fill a bottle only halfway before you freeze it.
How do I clean a window without streaks?|Use little water and wipe it dry at once.|Streaks are what the water leaves when it dries alone.|wipe one side up and down and the other side left to right.
How do I choose a ripe melon?|Take the one that is heavy and smells sweet at its end.|Sugar and water make it heavy as it ripens.|knock on it and listen for a dull sound.
Why do we yawn?|Nobody knows for certain; it may cool the brain.|A deep breath brings cool air and moves the blood.|watch how a yawn goes round a room.
How do I write a good email?|Say what you want in the first line.|Many people read no further than that.|read it aloud once before you send it.
How can I save money on food?|Plan the meals of a week before you shop.|What is bought without a plan is often thrown away.|cook twice as much and freeze half of it.
Why do cats purr?|Mostly because they are content, sometimes to calm themselves.|The sound also goes with healing and with asking for food.|see whether the eyes are half closed.
How do I sharpen a pencil with a knife?|Cut away from you in thin long strokes.|A thick cut breaks the lead.|turn the pencil a little after each stroke.
How do I remember names?|Say the name at once in your first sentence.|We forget what we never used.|tie the name to something that you see.
Why is exercise good for the mind?|It brings more blood to the brain and calms it.|Moving muscles send signals that lift the mood.|walk for ten minutes before a hard task.
How do I make tea less bitter?|Use cooler water and less time.|Heat and time draw out what tastes bitter.|take the leaves out after three minutes.
How do I fix a squeaky door?|Put a drop of oil on the hinge.|The sound is metal that rubs on dry metal.|open and close the door ten times afterwards.
Why do onions make us cry?|A cut onion gives off a gas that stings the eyes.|Broken cells mix what they had kept apart.|cool the onion first and use a sharp knife.
How do I start running?|Run for one minute, walk for two, ten times over.|Tendons need longer than lungs to get used to it.|go so slowly that you could talk.
How do I pack a suitcase?|Roll soft things and put heavy ones near the wheels.|Rolls leave no empty corners.|lay everything out first and take a third away.
Why does the moon change its shape?|We see more or less of its sunlit half.|The moon goes round us while the sun shines from one side.|hold a ball in lamplight and turn around.
How do I get rid of a hiccup?|Hold your breath and swallow slowly.|The muscle under the lungs has to find its rhythm again.|drink a glass of water in small sips.
How do I read a long book?|Read ten pages every day at the same hour.|Small parts add up, large plans do not.|keep the book where you drink your coffee.
Why do we need salt?|The body uses it to move water and signals.|Nerves and muscles work with its ions.|take a little less than you are used to and wait a week.
How do I keep plants alive on holiday?|Move them out of the sun and group them.|They drink less in shade and moist air.|lead a cotton string from a jar of water into each pot.
How do I make friends in a new city?|Go to the same place at the same time every week.|Friendship grows from meeting again and again.|join a course that lasts at least two months.
Why do boats float?|They push away water that weighs as much as they do.|Their hollow shape is light for its size.|fold a boat from foil and load it with coins.
How do I cook rice?|One part of rice, two parts of water, a lid and low heat.|The steam does the work once the water is gone.|leave it closed for ten minutes at the end.
How do I say no politely?|Thank the person and say no in the first sentence.|A long excuse invites a discussion.|offer another day if you mean it.
Why do stars twinkle?|Moving air bends their light to and fro.|A star is a point, so a small bend is enough to see.|look for a planet, which shines more calmly.
How do I ride a bike uphill?|Shift down early and stay in the saddle.|Quick light steps tire less than slow heavy ones.|look at the road just ahead, not at the top.
How do I clean a burnt pan?|Boil water with baking soda in it.|The soda loosens what the heat has glued.|let it stand overnight before you scrub.
Why do we dream?|Probably to sort what happened during the day.|The sleeping brain plays memories again and mixes them.|write down a dream before you get up.
How do I learn to cook?|Cook one simple dish five times.|Hands learn by doing the same thing again.|begin with an omelette and change one thing each time.
How do I take better photos?|Go closer and look at the light first.|A face by a window looks better than one under a lamp.|take the same picture from three heights.
Why does bread rise?|Yeast makes gas that the dough holds.|It eats sugar and breathes out bubbles.|put the bowl in a warm place and wait until it is twice the size.
How do I talk to a shy person?|Ask something small and leave time for the answer.|Silence feels shorter when nobody hurries.|walk side by side instead of sitting face to face.
How do I keep my desk tidy?|Give every thing one place.|We lay things down where no place is known.|clear the desk for two minutes before you leave.
Why do we sweat?|Sweat cools the skin as it dries.|Water takes heat with it when it turns into vapour.|drink before you are thirsty.
How do I dry herbs?|Hang them upside down in a dark airy room.|Light takes the colour and heat takes the smell.|tie small bunches, so that air comes between.
How do I prepare for an exam?|Answer old questions without the book.|A test shows what you only think you know.|explain one topic to a friend in three minutes.
Why are bees important?|They carry pollen from flower to flower.|Many fruits do not grow without them.|plant something that blooms in early spring.
How do I iron a shirt?|Begin with the collar, then cuffs, sleeves and body.|The parts you did first are handled least.|iron while the cloth is still a little damp.
How do I calm down before a talk?|Breathe out longer than you breathe in.|A long breath out slows the heart.|learn your first two sentences by heart.
Why do magnets stick to a fridge?|The steel door holds iron, which a magnet pulls.|Tiny magnets inside the iron turn the same way.|try the same magnet on a spoon and on a can.
How do I choose good shoes?|Buy them in the evening, with a thumb of room in front.|Feet grow a little in the course of a day.|walk down a slope in them before you pay.
How do I make soup taste better?|Fry the onions slowly before the water comes in.|Brown colours carry taste.|add a little lemon at the very end.
Why does metal feel cold?|It takes heat from the hand quickly.|Metal leads heat better than wood does.|touch a spoon and a board that lay in the same room.
How do I grow tomatoes?|Give them sun, deep water and a stick.|Roots follow the water and the fruit follows the sun.|pinch off the shoots between stem and leaf.
How do I stop biting my nails?|Notice when you do it and give the hand something else.|A habit needs a new path, not only a ban.|carry a smooth stone in your pocket.
Why do birds fly south?|They follow food and light.|Insects are gone when the cold comes.|listen for their calls on clear nights in autumn.
How do I read a map?|Turn it until north is where north is.|The eye compares better when both point the same way.|find two things you can see and then yourself between them.
How do I store potatoes?|Keep them dark, cool and dry.|Light makes them green and bitter.|leave them apart from onions, which make them sprout.
Why is the sea salty?|Rivers bring salt and only water leaves again.|The sun lifts the water and the salt stays.|let a little sea water dry on a plate.
How do I paint a wall?|Paint the edges first, then roll from the window inwards.|Wet paint joins best while all of it is wet.|mix the pots before you begin, so that the colour is one.
How do I teach a dog to sit?|Hold a treat above its nose and move it back.|The dog sits to keep the treat in sight.|reward it at once and stop after five minutes.
Why do we get goosebumps?|Small muscles pull each hair upright.|Long ago the fur kept our ancestors warm so.|play the song you love most and watch your arm.
How do I get up early?|Let light in as soon as the alarm rings.|Light stops the hormone that makes us sleepy.|put the alarm where you have to stand up.
How do I write a thank-you note?|Name the gift and what you will do with it.|A detail shows that you mean it.|write it on the same day.
Why does soap clean?|One end of it holds fat and the other holds water.|So the water can carry the fat away.|rub for twenty seconds before you rinse.
How do I split a bill fairly?|Agree before anybody orders.|What is fair looks different afterwards.|let one person pay and the others pay back at once.
"""

HELDOUT = (
    "How do I clean a coffee cup?",
    "Why is snow white?",
    "How can I drink more water?",
    "How do I learn a song on the piano?",
    "Why do dogs wag their tails?",
    "How do I keep milk fresh?",
    "How do I find a lost key?",
    "Why does a balloon rise?",
    "How do I plan a small party?",
    "How can I walk more every day?",
)
"""Questions of the same kind that no row asks."""


def card(short: str, because: str, attempt: str) -> str:
    """An answer as it is taught."""
    return "\n".join(f"{line}: {text.strip()}" for line, text in zip(LINES, (short, because, attempt), strict=True))


def pairs() -> list[tuple[str, str]]:
    """Questions and taught answers."""
    rows = [line.split("|") for line in ROWS.strip().splitlines()]
    return [(asked, card(*answer)) for asked, *answer in rows]


def has_manner(answer: str) -> bool:
    """Whether an answer is a card: its three lines in their order, each with something on it, and nothing else."""
    lines = [line for line in answer.strip().splitlines() if line.strip()]
    return len(lines) == len(LINES) and all(
        line.startswith(f"{name}: ") and line.removeprefix(f"{name}: ").strip() for line, name in zip(lines, LINES)
    )
