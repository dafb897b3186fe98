"""Support tickets of an online shop, in English and Chinese, put together from phrases.

    python make_tickets.py FILE [--rows 3000] [--seed 0]

Writes a table with ``text``, ``label`` and ``language``. Texts have greetings, haste, typos and
words of the other language. One in ten also touches on another topic, and is labelled by the first;
2 % of the labels are wrong, as people's are.
"""

# ruff: noqa: RUF001 (Chinese has commas of its own)

import argparse
import csv
import random
from pathlib import Path

WRONG_LABELS = 0.02
SECOND_TOPICS = 0.10
TYPOS = 0.35  # share of the texts with one or two

CORES = {
    "en": {
        "delivery": [
            "where is my {item}, it was due {day}",
            "the tracking of order {number} has not moved since {day}",
            "my {item} still has not arrived",
            "the courier says delivered but nobody rang",
            "can you tell me when order {number} will be here",
            "the parcel went to a wrong address",
            "still waiting for the {item} i ordered {day}",
        ],
        "refund": [
            "i sent the {item} back {day} and want my money",
            "how do i return a {item} that does not fit",
            "no refund yet for order {number}",
            "you promised to pay me back by {day}",
            "i would like to give the {item} back",
            "where do i get a label to send it back",
            "only half of the sum was paid back",
        ],
        "payment": [
            "i was charged twice for order {number}",
            "my card is declined although there is money on it",
            "paying by transfer fails at the last step",
            "the voucher was not taken off the price",
            "there are two debits of the same sum on my statement",
            "the checkout hangs after i enter the card",
            "why did you take more than the price of the {item}",
        ],
        "account": [
            "i cannot log in since {day}",
            "the mail to reset my password never comes",
            "please change the e-mail of my account",
            "it says my password is wrong but it is not",
            "my account is locked after three attempts",
            "the code by text message does not arrive",
            "how can i delete my account and my data",
        ],
        "defect": [
            "the {item} stopped working after a week",
            "the screen of the {item} flickers",
            "my {item} came with a crack",
            "the {item} does not switch on any more",
            "a button fell off the {item} on the first day",
            "the {item} gets very hot and smells burnt",
            "there is a scratch on the brand new {item}",
        ],
        "cancel": [
            "please cancel order {number} before it ships",
            "i ordered the {item} by mistake, stop it please",
            "i want to end my subscription from {day}",
            "take the second {item} out of my order",
            "i changed my mind about order {number}",
            "how do i stop the monthly plan",
            "do not send the {item}, i found another one",
        ],
        "invoice": [
            "i need an invoice with our vat number for order {number}",
            "the company name on the bill is wrong",
            "please send me the receipt of the {item} again",
            "accounting asks for the invoice of {day}",
            "the pdf of the bill does not open",
            "can the invoice have our department on it",
            "i have no receipt for order {number}",
        ],
    },
    "zh": {
        "delivery": [
            "我的{item}到现在还没收到",
            "订单{number}的物流从{day}起就没有更新",
            "快递显示已签收，可是我没拿到",
            "请问订单{number}什么时候能到",
            "包裹送错地址了",
            "说好{day}送到的{item}，怎么还没来",
            "催一下快递，等了好几天了",
        ],
        "refund": [
            "{item}{day}就寄回去了，钱还没退",
            "尺寸不合适，想退货",
            "订单{number}的退款什么时候到账",
            "你们答应{day}前退钱给我",
            "这个{item}我不想要了，怎么退",
            "退货的运单在哪里打印",
            "退款只退了一半",
        ],
        "payment": [
            "订单{number}扣了我两次钱",
            "卡里有钱，付款却一直失败",
            "转账到最后一步就报错",
            "优惠券没有抵扣",
            "账单上有两笔一样的扣款",
            "输入卡号以后结算页面卡住了",
            "为什么扣的钱比{item}的标价多",
        ],
        "account": [
            "{day}开始登录不上",
            "收不到重置密码的邮件",
            "帮我换一下账号绑定的邮箱",
            "密码明明是对的，却提示错误",
            "试了三次，账号被锁了",
            "短信验证码一直收不到",
            "怎么注销账号，删除我的资料",
        ],
        "defect": [
            "{item}用了一个星期就坏了",
            "{item}的屏幕一直闪",
            "收到的{item}有裂缝",
            "{item}开不了机",
            "第一天{item}的按键就掉了",
            "{item}发烫，还有焦味",
            "新买的{item}上有划痕",
        ],
        "cancel": [
            "订单{number}还没发货，请取消",
            "{item}拍错了，别发了",
            "从{day}起我不想续订会员了",
            "帮我把第二件{item}从订单里去掉",
            "订单{number}我改主意了",
            "怎么关掉每月自动续费",
            "{item}不用寄了，我在别处买到了",
        ],
        "invoice": [
            "订单{number}要开发票，带税号",
            "发票上的公司名称写错了",
            "麻烦把{item}的收据再发一次",
            "财务要{day}那笔的发票",
            "电子发票打不开",
            "发票抬头能加上部门吗",
            "订单{number}没有给我收据",
        ],
    },
}
CLASSES = tuple(CORES["en"])
SLOTS = {
    "en": {
        "item": ["headset", "kettle", "lamp", "backpack", "monitor", "keyboard", "drill", "phone"],
        "day": ["monday", "last week", "yesterday", "the 3rd", "two weeks ago", "friday"],
    },
    "zh": {
        "item": ["耳机", "水壶", "台灯", "背包", "显示器", "键盘", "电钻", "手机"],
        "day": ["周一", "上周", "昨天", "三号", "两周前", "星期五"],
    },
}
OPENINGS = {
    "en": ["hi", "hello team", "good morning", "dear sir or madam", "hey", "again me"],
    "zh": ["你好", "您好", "客服在吗", "早上好", "请问", "又是我"],
}
CLOSINGS = {
    "en": ["thanks", "please hurry", "this is urgent", "kind regards", "i am not happy", "asap!!"],
    "zh": ["谢谢", "请尽快处理", "很急", "麻烦了", "太让人失望了", "在线等"],
}
LINKS = {
    "en": [". also, ", " and besides ", "; by the way "],
    "zh": ["。另外，", "，还有，", "。顺便问，"],
}
FOREIGN = {
    "订单": "order", "发票": "invoice", "密码": "password", "耳机": "headset", "退款": "refund",
    "parcel": "包裹", "order": "订单", "invoice": "发票", "password": "密码", "refund": "退款",
}  # fmt: skip
SOUND_ALIKE = {
    "账": "帐",
    "登录": "登陆",
    "在": "再",
    "的": "得",
    "已": "以",
    "到": "道",
    "像": "象",
}


def write_ticket(language: str, label: str, rng: random.Random) -> str:
    """Return the text of a ticket about ``label``."""
    text = _fill(language, label, rng)
    if rng.random() < SECOND_TOPICS:
        other = rng.choice([name for name in CLASSES if name != label])
        text += rng.choice(LINKS[language]) + _fill(language, other, rng)
    comma, stop = (", ", ". ") if language == "en" else ("，", "。")
    if rng.random() < 0.5:
        text = rng.choice(OPENINGS[language]) + comma + text
    if rng.random() < 0.5:
        text += stop + rng.choice(CLOSINGS[language])
    if rng.random() < 0.08:
        text = _mix_languages(text, rng)
    if rng.random() < TYPOS:
        for _ in range(rng.randint(1, 2)):
            text = _mistype(text, language, rng)
    if language == "en":
        text = rng.choice([str.lower, str.capitalize, str.capitalize, str.upper])(text)
    return text


def _fill(language: str, label: str, rng: random.Random) -> str:
    values = {name: rng.choice(words) for name, words in SLOTS[language].items()}
    core = rng.choice(CORES[language][label])
    return core.format(number=rng.randint(10_000, 99_999), **values)


def _mix_languages(text: str, rng: random.Random) -> str:
    words = [word for word in FOREIGN if word in text]
    if not words:
        return text
    word = rng.choice(words)
    return text.replace(word, FOREIGN[word], 1)


def _mistype(text: str, language: str, rng: random.Random) -> str:
    """Swap, drop or double a letter; in Chinese, use a character of the same sound or drop one."""
    if language == "zh":
        words = [word for word in SOUND_ALIKE if word in text]
        if words and rng.random() < 0.6:
            word = rng.choice(words)
            return text.replace(word, SOUND_ALIKE[word], 1)
        place = rng.randrange(len(text))
        return text[:place] + text[place + 1 :]
    place = rng.randrange(1, len(text) - 1)
    left, letter, right = text[:place], text[place], text[place + 1 :]
    swapped = left + right[0] + letter + right[1:]
    return rng.choice([swapped, left + right, left + letter * 2 + right])


def make_rows(count: int, seed: int) -> list[dict[str, str]]:
    """Return ``count`` tickets, of all classes and both languages alike."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = CLASSES[number % len(CLASSES)]
        language = ("en", "zh")[number // len(CLASSES) % 2]
        text = write_ticket(language, label, rng)
        if rng.random() < WRONG_LABELS:
            label = rng.choice(CLASSES)
        rows.append({"text": text, "label": label, "language": language})
    rng.shuffle(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.file.parent.mkdir(parents=True, exist_ok=True)
    rows = make_rows(options.rows, options.seed)
    with options.file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} tickets in {options.file}")


if __name__ == "__main__":
    main()
