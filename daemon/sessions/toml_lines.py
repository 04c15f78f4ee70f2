"""Where each setting of a TOML text stands: its line. Knows TOML's punctuation only; `tomllib` decides what is valid."""

from __future__ import annotations

import tomllib
from typing import Any

TomlPath = tuple[str | int, ...]

_QUOTES = ('"""', "'''", '"', "'")


def toml_lines(text: str) -> dict[TomlPath, int]:
    """Line (from 1) of every table, key and array item of a valid TOML text, by its path, e.g. `("comparison", "arms", 0)`."""
    return _Scanner(text).scan()


def nearest_line(lines: dict[TomlPath, int], path: TomlPath) -> int:
    """The line of `path`, or of the closest thing around it that is written down; 1 where nothing is."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    """Walks a text that `tomllib` has accepted; at every turn `position` is the next unread character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = 1
        self.lines: dict[TomlPath, int] = {}
        self.num_tables: dict[TomlPath, int] = {}

    def scan(self) -> dict[TomlPath, int]:
        table: TomlPath = ()
        self._skip_blank()
        while self.position < len(self.text):
            if self.text[self.position] == "[":
                table = self._header()
            else:
                self._key_value(table)
            self._skip_blank()
        return self.lines

    def _header(self) -> TomlPath:
        """`[a.b]` or `[[a.b]]`."""
        is_array = self.text.startswith("[[", self.position)
        self._advance(2 if is_array else 1)
        line = self.line
        keys = self._keys("]")
        self._advance(2 if is_array else 1)
        path = self._resolved(keys)
        if is_array:
            number = self.num_tables.get(path, 0)
            self.num_tables[path] = number + 1
            self.lines.setdefault(path, line)
            path = (*path, number)
        self.lines[path] = line
        return path

    def _resolved(self, keys: tuple[str, ...]) -> TomlPath:
        """A header's keys as a path: where one names an array of tables, its latest table is meant."""
        path: TomlPath = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            if path in self.num_tables and index < len(keys) - 1:
                path = (*path, self.num_tables[path] - 1)
        return path

    def _key_value(self, table: TomlPath) -> None:
        line = self.line
        keys = self._keys("=")
        self._advance(1)
        for depth in range(1, len(keys)):
            self.lines.setdefault((*table, *keys[:depth]), line)
        path = (*table, *keys)
        self.lines[path] = line
        self._skip_blank()
        self._value(path)

    def _keys(self, end: str) -> tuple[str, ...]:
        """A dotted key up to `end`, which stays unread."""
        start = self.position
        while self.text[self.position] != end:
            if not self._skip_string():
                self._advance(1)
        found: Any = tomllib.loads(f"{self.text[start : self.position].strip()} = 0")
        keys = []
        while isinstance(found, dict):
            key, found = next(iter(found.items()))
            keys.append(key)
        return tuple(keys)

    def _value(self, path: TomlPath) -> None:
        opening = self.text[self.position : self.position + 1]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        elif not self._skip_string():
            while self.position < len(self.text) and self.text[self.position] not in ",]}\n#":
                self._advance(1)

    def _array(self, path: TomlPath) -> None:
        self._advance(1)
        number = 0
        while True:
            self._skip_blank(",")
            if self.text[self.position] == "]":
                return self._advance(1)
            self.lines[(*path, number)] = self.line
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: TomlPath) -> None:
        self._advance(1)
        while True:
            self._skip_blank(",")
            if self.text[self.position] == "}":
                return self._advance(1)
            self._key_value(path)

    def _skip_blank(self, also: str = "") -> None:
        """Past white space, line ends, comments and the characters of `also`."""
        blank = f" \t\r\n{also}"
        while self.position < len(self.text):
            if self.text[self.position] == "#":
                while self.position < len(self.text) and self.text[self.position] != "\n":
                    self._advance(1)
            elif self.text[self.position] in blank:
                self._advance(1)
            else:
                return

    def _skip_string(self) -> bool:
        """Past a string of any of the four kinds, if one begins here."""
        quote = next((quote for quote in _QUOTES if self.text.startswith(quote, self.position)), None)
        if quote is None:
            return False
        self._advance(len(quote))
        while not self.text.startswith(quote, self.position):
            self._advance(2 if self.text[self.position] == "\\" and quote[0] == '"' else 1)
        self._advance(len(quote))
        # A closing triple may be preceded by one or two quotes that belong to the text.
        while len(quote) == 3 and self.text.startswith(quote[0], self.position):
            self._advance(1)
        return True

    def _advance(self, num_characters: int) -> None:
        self.line += self.text.count("\n", self.position, self.position + num_characters)
        self.position += num_characters
