"""What comes from outside, made harmless where it stands in the page; Jinja2 does the rest."""

from markupsafe import Markup


def in_script(text: str) -> Markup:
    """Return JSON such that no string in it can end the script element that holds it."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - made safe just above
