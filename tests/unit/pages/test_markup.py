from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from labelmill.pages.markup import Markup, element, join, text
from labelmill.pages.shell import page


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = element("b", 'a < b & "c"')
    assert element("p", inner, "<i>") == "<p><b>a &lt; b &amp; &quot;c&quot;</b>&lt;i&gt;</p>"
    assert join("<", Markup("<br/>"), None) == "&lt;<br/>"


def test_attributes_are_escaped_and_left_out_when_none() -> None:
    made = element("p", class_='"><script>', font_size=1.23456, x=2, title=None)
    assert made == '<p class="&quot;&gt;&lt;script&gt;" font-size="1.23" x="2"></p>'


@pytest.mark.parametrize("odd", ["\x00", "\x1b", "\x7f\ud800", "\ufffe"])
def test_what_xml_cannot_hold_is_replaced(odd: str) -> None:
    made = element("p", f"a{odd}b", title=odd)
    assert ET.fromstring(made.encode()).text is not None
    assert "\ufffd" in text(odd)


def test_data_survives_in_a_page_and_cannot_leave_its_element() -> None:
    data = {"text": "</script><script>alert(1)</script><!-- & \u2028 ü \ud800", "n": [1, None]}
    made = page("<title>", element("h1", "x"), data=data)
    assert made.count("</script>") == 1
    root = ET.fromstring(made.encode())
    script = next(root.iter("script"))
    assert script.attrib == {"type": "application/json", "id": "data"}
    assert json.loads(script.text or "") == data
    assert [title.text for title in root.iter("title")] == ["<title>"]
