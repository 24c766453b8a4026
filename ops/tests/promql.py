"""Reads from a query which metrics, labels and values it names, and from a scrape which exist."""

import re

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9.]+[a-z]*|=~|!~|!=|[^\s]')
WORDS = {"and", "or", "unless", "offset", "bool", "group_left", "group_right", "inf", "nan"}
GROUPINGS = {"by", "without", "on", "ignoring"}
# Labels that are the scraper's, and the one that makes a histogram.
LABELS_KNOWN = {"job", "instance"}


class Selector:
    """`name{label="value"}`; `values` are those that the matcher can mean, none for any."""

    def __init__(self, name):
        self.name = name
        self.matchers = []


def read(expr):
    """The selectors of a query, and the labels that it groups by."""
    tokens = TOKEN.findall(expr)
    selectors, labels, at = [], set(), 0
    while at < len(tokens):
        token = tokens[at]
        following = tokens[at + 1] if at + 1 < len(tokens) else ""
        is_word = re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", token)
        at += 1
        if token in GROUPINGS or (token.startswith("group_") and following == "("):
            end = tokens.index(")", at)
            labels.update(label for label in tokens[at + 1 : end] if label != ",")
            at = end + 1
        elif is_word and token not in WORDS and following not in ("(", "by", "without"):
            selector = Selector(token)
            if following == "{":
                end = tokens.index("}", at)
                selector.matchers = matchers(tokens[at + 1 : end])
                at = end + 1
            selectors.append(selector)
        elif token == "[":
            # A range is a duration, and so no name.
            at = tokens.index("]", at) + 1
    return selectors, labels


def matchers(tokens):
    """`(label, values)` of each matcher."""
    found = []
    for at in range(0, len(tokens), 4):
        label, operator, value = tokens[at : at + 3]
        text = value[1:-1]
        is_pattern = operator in ("=~", "!~")
        values = [] if is_pattern and not re.fullmatch(r"[\w|-]+", text) else text.split("|")
        found.append((label, values if is_pattern or not values else [text]))
    return found


def samples(scrape):
    """The names of a scrape with their labels and the values of each."""
    names = {}
    for line in scrape.splitlines():
        found = re.match(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ", line)
        if line.startswith("#") or not found:
            continue
        labels = names.setdefault(found[1], {})
        for label, value in re.findall(r'(\w+)="((?:\\.|[^"\\])*)"', found[2] or ""):
            labels.setdefault(label, set()).add(value)
    return names


def wrong(expr, known):
    """What a query names that `known` has not."""
    selectors, labels = read(expr)
    found, there = [], set(LABELS_KNOWN)
    for selector in selectors:
        has = known.get(selector.name)
        if has is None:
            found.append(f"there is no {selector.name}")
            continue
        there.update(has)
        for label, values in selector.matchers:
            if label in LABELS_KNOWN:
                continue
            if label not in has:
                found.append(f"{selector.name} has no label {label}")
                continue
            absent = [value for value in values if value not in has[label]]
            found += [f"{selector.name} has no {label}={value}" for value in absent]
    return found + [f"nothing here has the label {label}" for label in labels - there]
