"""From paths to titles: which title a file belongs to, which episode it is, or which extra."""

from toomuchtv.catalog.names.parsing import ParsedName, TitleParser, assign_titles, parse_name
from toomuchtv.catalog.names.text import printable, title_key

__all__ = ["ParsedName", "TitleParser", "assign_titles", "parse_name", "printable", "title_key"]
