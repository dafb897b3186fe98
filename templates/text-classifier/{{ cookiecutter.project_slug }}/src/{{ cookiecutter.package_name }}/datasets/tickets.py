"""Generated support tickets with six intents: a small grammar makes them up, nobody wrote them.

They stand in for real tickets until a project has its own, and have what makes real ones hard:
typos, very different lengths, uneven classes, some wrong labels, and tickets that name two topics
of which only the construction tells the one that matters ("You fixed my login, now the parcel is
late", "The parcel is fine, but I cannot log in").
"""

import random
import re
from dataclasses import dataclass

INTENT_WEIGHTS = {  # share of tickets
    "delivery": 0.25,
    "billing": 0.22,
    "login": 0.18,
    "bug": 0.15,
    "refund": 0.12,
    "cancellation": 0.08,
}
FORM_WEIGHTS = {"headline": 0.08, "one_topic": 0.70, "two_topics": 0.22}  # share of tickets
LABEL_NOISE = 0.04  # share of tickets labelled with another intent: 0.96 is the best accuracy
TYPO_RATE = 0.03  # share of words of four letters and more

# Each line is one alternative of a slot: `[a|b]` is either (`[|a]`: or nothing), `{slot}` any
# alternative of that slot. `issue` is the ticket's intent, `settled` one that needs no answer.
# A topic or an event can stand for both, so it never gives away which of two topics matters.
GRAMMAR = """
delivery.topic = [the|my] [parcel|package|shipment|delivery]
delivery.topic = the [delivery of|shipping of|parcel with|package with] my {product}
delivery.event = [the|my] [parcel|package|shipment] [never arrived|did not come|got lost]
delivery.event = the [courier|driver] left my {product} [at the wrong house|with a stranger]
delivery.event = the {product} [arrived|came|was delivered] [{n} days late|far too late]
delivery.event = the tracking of my {product} did not move for [days|a week]
delivery.event = the [box|parcel|package] [came|arrived|turned up] without the {product}
delivery.state = my {product} [still has not|hasn't] [arrived|come|been delivered]
delivery.state = I am still waiting for the {product} that was [due|promised] on {day}
delivery.state = the tracking page says my {product} is [in another city|stuck at the depot]
delivery.ask = [where is it|when will it be here|can you ask the courier]?
delivery.ask = please [tell me when to expect|ask the driver about|find] order {number}.
delivery.headline = [parcel|package|shipment|{product}] [lost|late|not delivered|never arrived]

billing.topic = [the|my] [invoice|bill]
billing.topic = the [invoice|bill|amount charged|card payment] for my {product}
billing.event = I was [charged|billed] [twice|two times] for [my|the] {product}
billing.event = [the|my] [invoice|bill] [showed|had] the wrong [amount|total|address]
billing.event = you [took|withdrew] {amount} [too much|more than agreed] from my [card|account]
billing.event = the [discount|voucher] was missing [on|from] the [invoice|bill]
billing.event = I [got|received|was sent] [two invoices|two bills|a second bill] for one {product}
billing.state = my [card|bank] statement shows {amount}, [but|while] the {product} costs less
billing.state = I need [an invoice|a bill] with the [name|tax number] of my company on it
billing.state = I do not understand the [fee|charge] of {amount} on my [bill|invoice]
billing.ask = please [correct the amount|send a new bill|explain the charge] for order {number}.
billing.ask = [can|could] you [check|correct|explain] [the bill|what I was charged]?
billing.headline = [invoice incorrect|wrong bill|charged twice|billed twice][| for {product}]

login.topic = [the|my] [password|password reset|[login|sign-in][|| on the phone| from home]]
login.event = I could not [log in|sign in|get into my account]
login.event = the [password reset link|reset link|security code] [never came|was rejected]
login.event = my account [was locked|locked me out] after {n} [tries|attempts]
login.event = the [login|sign-in] page [refused|did not accept] my [password|user name]
login.event = my password [stopped working|was rejected] on [my phone|the laptop]
login.state = I [can't|cannot|am not able to] [log in|sign in] [to my account|any more]
login.state = it [keeps saying|says] my password is wrong, [but|although] I have just changed it
login.state = I lost the phone [that gets|with] my security codes and am locked out
login.ask = please [unlock my account|send a new reset link|let me back in].
login.ask = how do I [get back in|reset my password|unlock it]?
login.headline = [cannot log in|can't sign in|locked out|password rejected]

bug.topic = the [crash|error|bug|glitch] [in the app|in your app|on the {screen}]
bug.topic = the [broken|frozen|empty] {screen}
bug.event = [the|your] app [crashed|froze|hung] [on|when I opened] the {screen}
bug.event = the {screen} [was|came up] [blank|empty|garbled] after the update
bug.event = the [save|back|search] button on the {screen} [did nothing|vanished]
bug.event = the {screen} showed [error|code] {n}{d}{d}
bug.event = the update broke the {screen} [on my tablet|on my phone|in the browser]
bug.state = [the|your] app [crashes|freezes] [every time|whenever] I open the {screen}
bug.state = the {screen} [does not load|is blank] [in dark mode|since version {n}.{d}]
bug.ask = [is there|do you have] a [fix|workaround|patch]?
bug.ask = please [fix this in the next version|pass it on to the developers].
bug.headline = [app crashes on|error on|broken|blank] {screen}

refund.topic = [the refund|the repayment|my refund|getting my money back][| for the {product}]
refund.event = the [refund|money back] for my {product} [never came|did not arrive]
refund.event = I [sent back|returned] the {product} and [got|saw] no [money|refund]
refund.event = you [refunded|paid back] only {amount} for the returned {product}
refund.event = I [asked for|requested] my money back for the {product} and heard nothing
refund.event = my refund [was refused|was turned down] [for no reason|without a word]
refund.state = I [want|would like] my money back for the {product}, it is [broken|too small]
refund.state = you have had the {product} back since {day}, but the refund is not on my account
refund.state = I want to return the {product} and [get|have] the {amount} back
refund.ask = when [will I get|do I see] my money?
refund.ask = please [refund|pay back] order {number}.
refund.headline = [refund|money back][| for {product}] [missing|never came]

cancellation.topic = [cancelling|ending|the cancellation of|the end of] my {plan}
cancellation.topic = my notice to [end|cancel|quit] the {plan}
cancellation.event = I [wanted|decided|tried] to [cancel|end|quit] my {plan}
cancellation.event = I found no [button|way|form] to [cancel|end] my {plan}
cancellation.event = I gave notice for my {plan} and [got|saw] no confirmation
cancellation.event = my cancellation of the {plan} was [ignored|not accepted]
cancellation.state = I [want|would like|wish] to [cancel|end|stop] my {plan} [by|from] {date}
cancellation.state = I no longer [need|use] my {plan} and [do not|don't] want to renew it
cancellation.ask = please [confirm the cancellation|end it|close the contract].
cancellation.ask = how do I [cancel|end it|get out of the contract]?
cancellation.headline = [cancel|end|stop|please cancel] my {plan}

headline = {issue.headline}[|,| -|:] [{number}|no. {number}|customer {number}][|. {plea}]
one_topic = {opening}[|on {day} |on {date} ]{issue.event}.{closing}
one_topic = {opening}[I am writing because|the problem is that] {issue.event}.{closing}
one_topic = {opening}[this is about|I need help with] {issue.topic}.{closing}
one_topic = {opening}{issue.state}.{closing}
two_topics = {opening}{earlier} {settled.event}, {solved}. {this_time} {issue.event}.{closing}
two_topics = {opening}{this_time} {issue.event}. {earlier} {settled.event}, {solved}.{closing}
two_topics = {opening}{thanks_for} {settled.topic}. {this_time} {issue.event}.{closing}
two_topics = {opening}{this_time} {issue.event}. {thanks_for} {settled.topic}.{closing}
two_topics = {opening}{settled.topic} is {fine}, [but|however] {issue.event}.{closing}
two_topics = {opening}{issue.event}, [but|though] {settled.topic} is {fine}.{closing}
two_topics = {opening}{settled.topic} is {fine}, [but|however] {issue.topic} is {not_fine}.{closing}
two_topics = {opening}{issue.topic} is {not_fine}, [but|while] {settled.topic} is {fine}.{closing}
two_topics = {opening}{this_is} not about {settled.topic}, {this_is} about {issue.topic}.{closing}
two_topics = {opening}{this_is} about {issue.topic}, {this_is} not about {settled.topic}.{closing}
two_topics = {opening}you wrote about {settled.topic}, but I asked about {issue.topic}.{closing}
two_topics = {opening}I asked about {issue.topic}, but you wrote about {settled.topic}.{closing}

opening = [||{greeting}[,|!|] ][||{small_talk}. ][||{about_me}. ]
closing = [|| {issue.ask}][|| {detail}.][|| {plea}][|| {sign_off}[|,] {name}][|||| {emoji}]
greeting = [hi|hello|hey|good morning|good evening|dear team|dear support|hi there]
small_talk = [I hope you are well|greetings from {city}|happy {day}|lovely shop you have]
small_talk = sorry [for my English|for the long message|to bother you on a {day}]
about_me = I [have been with you since 201{d}|am typing this on my phone|am new here]
about_me = my [sister|neighbour|boss|son] [told me to write to you|told me about you in 201{d}]
about_me = I [look after|run] a small [shop|school|office] in {city} with {n} [people|colleagues]
detail = my customer number is {number}
detail = I already [called|wrote] on {date}[| and waited for {n}{d} minutes| but heard nothing]
detail = [you can reach me|call me] [on {day}|after {n} pm|until {date}]
detail = I [leave|travel] on {date} and [need|want] this sorted [soon|before that|by {day}]
plea = please [help|look into it|have a look|see to it|get back to me] [soon|today|by {day}].
plea = [can|could] you [help|look into it|have a look] [soon|today|by {day}]?
plea = [thanks|thank you] [in advance|for your help|for looking into it].
sign_off = [regards|kind regards|best wishes|cheers|yours]
name = [Ana|Ben|Chloe|Deniz|Emma|Farid|Grace|Hugo|Ines|Jonas|Kira|Liam|Mei|Noor|Oskar|Priya|Tom]
city = [Bern|Leeds|Lyon|Porto|Graz|Ghent|Turku|Cork|Aarhus|Malmo|Utrecht|Gdansk|Dresden|Pisa]
product = [kettle|desk lamp|garden chair|backpack|headset|coffee grinder|rain jacket|blue rug]
product = [sleeping bag|bike light|blender|tent|wall clock|mirror|monitor arm|wool blanket]
plan = [premium plan|yearly plan|membership|subscription|magazine subscription|service plan]
screen = [settings page|start page|product list|photo gallery|store map|wish list|search page]
number = {n}{d}{d}{d}{d}
amount = {n}{d}[|.{d}{d}] [euros|pounds|dollars]
day = [Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday]
month = [January|February|March|April|May|June|July|August|September|October|November]
date = [{n}|1{d}|2{d}] {month}
earlier = [last week|the other week|last month|in {month}|a while ago|on {date}]
this_time = [this time|today|now|this week|yesterday]
solved = [and|but] [you [solved|sorted] it|you took care of it|that [is|was] [settled|sorted]]
thanks_for = [thanks|thank you] for [your help with|taking care of]
this_is = [this is|it is|my question is]
fine = [sorted|dealt with|out of the way|no longer a problem]
not_fine = [[not|still not] [sorted|dealt with]|still a problem|the problem]
emoji = [🙂|😕|😡|🙏|😩|🤷|😬|😢]
n = [2|3|4|5|6|7|8|9]
d = [0|1|2|3|4|5|6|7|8|9]
"""
CHOICE_OR_SLOT = re.compile(r"\[(?P<choice>[^\[\]]*)\]|\{(?P<slot>[\w.]+)\}")
TOPIC_PARTS = ("topic", "event", "state", "ask", "headline")
SAME_IN_TICKET = ("product", "plan", "screen")  # a ticket speaks of one product
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@dataclass(frozen=True)
class Ticket:
    """A message to the support desk.

    text: what the customer wrote, 3 to about 60 words.
    label: the intent as recorded, which is a wrong one for the share `LABEL_NOISE` of tickets.
    intent: the true intent, which a careful reader can always tell from the text.
    """

    text: str
    label: str
    intent: str


def generate(count: int, seed: int) -> list[Ticket]:
    """Draw `count` generated tickets; a smaller count gives the first of them."""
    rng, rules = random.Random(seed), parse(GRAMMAR)
    return [draw(rules, rng) for _ in range(count)]


def parse(grammar: str) -> dict[str, list[str]]:
    """Return the alternatives of each slot."""
    rules: dict[str, list[str]] = {}
    for line in filter(None, grammar.splitlines()):
        slot, alternative = line.split(" = ", maxsplit=1)
        rules.setdefault(slot, []).append(alternative)
    return rules


def draw(rules: dict[str, list[str]], rng: random.Random) -> Ticket:
    """Draw the intent of a ticket, its label and its text."""
    intent = weighted(INTENT_WEIGHTS, rng)
    others = [other for other in INTENT_WEIGHTS if other != intent]
    label = rng.choice(others) if rng.random() < LABEL_NOISE else intent

    topics = {"issue": intent, "settled": rng.choice(others)}
    rules = rules | {
        f"{role}.{part}": rules[f"{topic}.{part}"]
        for role, topic in topics.items()
        for part in TOPIC_PARTS
    }
    rules |= {slot: [expand(rng.choice(rules[slot]), rules, rng)] for slot in SAME_IN_TICKET}
    form = rng.choice(rules[weighted(FORM_WEIGHTS, rng)])
    text = " ".join(expand(form, rules, rng).split())  # optional text leaves double spaces
    return Ticket(scribble(text, rng), label, intent)


def weighted(weights: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def expand(text: str, rules: dict[str, list[str]], rng: random.Random) -> str:
    """Replace the choices and slots in `text`, from the inside out, until none is left."""
    while found := CHOICE_OR_SLOT.search(text):
        slot = found["slot"]
        alternatives = rules[slot] if slot else found["choice"].split("|")
        text = text[: found.start()] + rng.choice(alternatives) + text[found.end() :]
    return text


def scribble(text: str, rng: random.Random) -> str:
    """Write `text` the way people type: sloppy capitals and punctuation, and typos."""
    text = re.sub(r"(?:^|[.!?] )[a-z]", lambda start: start[0].upper(), text)
    if rng.random() < 0.15:
        text = text.replace(",", "").rstrip(".!?")
    # Words of up to three letters stay whole: a misspelt "not" could change the intent.
    text = re.sub(
        r"[A-Za-z][a-z]{3,}",
        lambda word: misspell(word[0], rng) if rng.random() < TYPO_RATE else word[0],
        text,
    )
    return rng.choices((text, text.lower(), text.upper()), (0.72, 0.24, 0.04))[0]


def misspell(word: str, rng: random.Random) -> str:
    """Swap, drop, double or replace by its neighbour on the keyboard a letter inside `word`."""
    at = rng.randrange(1, len(word) - 1)
    before, letter, following, after = word[:at], word[at], word[at + 1], word[at + 2 :]
    row = next(row for row in KEYBOARD if letter in row)
    neighbour = row[abs(row.index(letter) - 1)]  # to the left, or the second in the row
    typos = (following + letter, following, letter + letter + following, neighbour + following)
    return before + rng.choice(typos) + after
