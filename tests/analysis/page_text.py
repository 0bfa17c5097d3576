"""The words that a reader of a report's page sees."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img"}


class Text(HTMLParser):
    """The words of a page, and every tag that it opens and does not close."""

    def __init__(self):
        super().__init__()
        self.words, self.open = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag
        if tag not in {"b", "span", "code"}:
            self.words.append(" ")

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "title", "script"}:
            self.words.append(data)


def words(page):
    parser = Text()
    parser.feed(page.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return " ".join("".join(parser.words).split())
