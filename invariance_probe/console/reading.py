"""How the command line reads its options."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typer.core import TyperCommand

from .._limits import check_canvas
from ..errors import ProbeError
from .talk import hint

if TYPE_CHECKING:
    from ..probing import ProbeConfig
    from ..probing.verification.trust import Trust


class Greedy(TyperCommand):
    """A command whose list options take all values up to the next option; arguments come first."""

    several = (
        "--layers", "--transforms", "--network-arg", "--mean", "--std", "--set", "--match",
        "--quantities",
    )  # fmt: skip

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, as the parser wants it."""
        spread: list[str] = []
        current, values = "", 0
        for token in args:
            if token.startswith("-") and not token[1:2].isdigit():
                current, values = token if token in self.several else "", 0
            elif current:
                values += 1
                if values > 1:
                    spread.append(current)
            spread.append(token)
        return super().parse_args(ctx, spread)


class Grouped(Greedy):
    """The command `probe`, whose many options stand in groups in its help."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {
        "What to probe": (
            "network", "checkpoint", "checkpoint_entry", "checkpoint_prefix", "allow_partial",
            "by_order", "network_arg", "layers", "transforms", "images", "data_root", "train",
            "number", "image_channels", "skip_damaged", "canvas", "mean", "std", "config", "trust",
        ),
        "Measurement": (
            "weighting", "map_interpolation", "image_interpolation", "family", "channel_maps",
            "least_coverage", "ledger", "per_image", "erode", "dense", "precision", "impure",
            "resamples", "seed",
        ),
        "Machine": ("device", "batch_size", "memory", "workers"),
        "Output": ("out", "figures", "resume", "save_every", "overwrite", "json", "help"),
    }  # fmt: skip

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options under the titles of their groups."""
        told = {one.name: one.get_help_record(ctx) for one in self.get_params(ctx)}
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([told.pop(name) for name in names])


def words(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Values of a list option, which may also be joined by commas or spaces."""
    if not values:
        return None
    return tuple(word for value in values for word in value.replace(",", " ").split())


def numbers(name: str, values: Sequence[str] | None) -> tuple[float, ...] | None:
    """The numbers of a list option."""
    try:
        return None if not values else tuple(float(word) for word in words(values) or ())
    except ValueError:
        raise ProbeError(f"{name} {' '.join(values or ())}: give numbers, such as 0.5") from None


def whole_numbers(name: str, text: str | None) -> tuple[int, ...] | None:
    """The whole numbers of "0,1,2"."""
    if text is None:
        return None
    read = [whole(word) for word in words([text]) or ()]
    if None in read:
        raise ProbeError(f"{name} {text}: give whole numbers, such as 0,1,2")
    return tuple(number for number in read if number is not None)


def canvas_size(text: str | None) -> tuple[int, int] | None:
    """(rows, columns) from "224x224" or "224"."""
    if text is None:
        return None
    sides = [whole(side) or 0 for side in text.lower().split("x")]
    if len(sides) > 2 or min(sides) < 1:
        raise ProbeError(f"--canvas {text}: give rows x columns in pixels, such as 224x224")
    return check_canvas(sides[0], sides[-1])


def whole(text: str) -> int | None:
    """The whole number of "32" or "-5", None for other text and for numbers without end.

    >>> whole("32"), whole("--5"), whole("9" * 5000)
    (32, None, None)
    """
    return int(text) if re.fullmatch(r"-?[0-9]{1,40}", text) else None


def arguments(
    pairs: Sequence[str] | None, option: str = "--network-arg", example: str = "width=64"
) -> dict[str, Any] | None:
    """{key: value} from "key=value" texts; values are JSON or Python literals, else text."""
    if not pairs:
        return None
    read: dict[str, Any] = {}
    for pair in pairs:
        key, mark, text = pair.partition("=")
        if not mark or not key.isidentifier():
            raise ProbeError(f"{option} {pair}: write key=value, such as {example}")
        read[key] = text
        for parse in (ast.literal_eval, json.loads):
            # The last two of values that are nested too deep for either.
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                read[key] = parse(text)
    return read


def of_factory(pairs: Sequence[str] | None) -> dict[str, Any]:
    """The arguments of a network's factory; those that the package gives itself are refused."""
    from ..networks.building.build import check_arguments

    found = arguments(pairs) or {}
    check_arguments(found)
    return found


def allowed(
    trust: bool,
    network: str | None,
    network_arg: Sequence[str] | None,
    checkpoint: Path | None,
    images: str | None,
    data_root: Path | None,
) -> Trust:
    """What of stored configurations may be called and read: all, or what the user has repeated."""
    given = {
        "network": network, "arguments": arguments(network_arg), "checkpoint": checkpoint,
        "images": images, "data_root": data_root,
    }  # fmt: skip
    return trust or {name: value for name, value in given.items() if value is not None}


def check_stored(config: ProbeConfig, given: dict[str, Any], trust: bool, where: object) -> None:
    """Refuse what a stored configuration names, unless the options that were given name it too."""
    from ..probing.verification.trust import check_trusted

    named = {name: value for name, value in given.items() if value is not None}
    check_trusted(config, trust or named, str(where))


def stored_config(path: Path | None) -> dict[str, Any]:
    """The configuration in a result folder, its provenance.json, or a JSON file."""
    if path is None:
        return {}
    from ..running.files import Unreadable, read_bytes

    file = path / "provenance.json" if path.is_dir() else path
    try:
        values = json.loads(read_bytes(file))
    except FileNotFoundError:
        raise ProbeError(f"{file} does not exist; give a result folder or a JSON file") from None
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise ProbeError(f"{file} is no JSON file ({error}); give a result folder") from None
    if isinstance(values, dict) and "software" in values:
        values = values.get("config")
        if not values:
            raise ProbeError(
                f"{path} was measured on Python objects and has no configuration to replay"
            )
    if not isinstance(values, dict):
        raise ProbeError(f"{file} holds no configuration; give a result folder")
    return values


def check_device(name: str) -> None:
    """Refuse a device that this machine does not have."""
    from ..running.devices import find_device

    find_device(name)


def check_transforms(text: str) -> None:
    """Refuse transformations that are none, before a network is built."""
    from ..geometry import parse_transforms

    parse_transforms(text)


def count(text: str | None) -> int | str | None:
    """The number of "32"; "auto", and what is no number, stay text."""
    number = None if text is None else whole(text)
    return text if number is None else number


def pixels(text: str | None) -> float | str | None:
    """The number of "2.5"; "auto", and what is no number, stay text."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def configured(
    stored: dict[str, Any], given: dict[str, Any], options: dict[str, Any]
) -> ProbeConfig:
    """The stored configuration with the options that were given in its place."""
    from ..probing import ProbeConfig

    values = stored | {name: value for name, value in given.items() if value is not None}
    kept = {name: value for name, value in options.items() if value is not None}
    before = stored.get("options", {})
    # What is no dictionary is refused with the rest of the configuration.
    values["options"] = {**before, **kept} if isinstance(before, dict) else before
    return ProbeConfig.from_dict(values)


def with_layers(config: ProbeConfig) -> ProbeConfig:
    """The configuration with layers spaced through its network, and a word on which."""
    import torch

    from ..networks import default_layers, find_frames, list_layers
    from ..probing.config import load_network

    built = load_network(config)
    example = torch.zeros(1, built.channels, *(config.canvas or built.canvas))
    names = default_layers(list_layers(built.module, example))
    canvas = (int(example.shape[2]), int(example.shape[3]))
    names = list(find_frames(built.module, names, canvas, built.channels)[0]) or names
    hint(f"layers: {', '.join(names)} (choose others with --layers)")
    return replace(config, layers=tuple(names))
