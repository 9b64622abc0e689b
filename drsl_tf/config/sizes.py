"""Parses image sizes of flags."""

from __future__ import annotations

from data_pipelines.errors import UserError


def parse_size(text: str, otherwise: str = "native") -> tuple[int, int] | None:
    """Parses the size of a flag.

    Args:
        text: "HEIGHTxWIDTH" in pixels, or `otherwise`.
        otherwise: the word for no size.

    Returns:
        (height, width); None for `otherwise`.

    Raises:
        UserError: it is neither.
    """
    if text == otherwise:
        return None
    numbers = text.split("x")
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(
            f"The size {text!r} is neither HEIGHTxWIDTH in pixels, such as 512x1024, nor "
            f"{otherwise!r}."
        )
    return int(numbers[0]), int(numbers[1])
