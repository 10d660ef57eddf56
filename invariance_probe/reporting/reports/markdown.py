"""The report in Markdown, the same story with its figures as files."""

from __future__ import annotations

from collections.abc import Sequence

from ..select import spoken
from .contents import Content
from .illustrations import Illustration
from .tables import ladder_markdown, plain, treatments_markdown


def markdown(said: Content, figures: Sequence[Illustration], folder: str, suffix: str) -> str:
    """The whole file; figures are looked for as FOLDER/NAME.SUFFIX beside it."""
    out = [
        f"# {plain(said.title)}",
        f"Content hash `{said.content_hash}` {said.hash_note}".rstrip(),
    ]

    def shown(section: str) -> list[str]:
        return [
            f"![{plain(one.alt)}]({folder}/{one.name}.{suffix})\n\n"
            f"*{plain(one.title)}.* {plain(one.caption)}"
            for one in figures
            if one.section == section
        ]

    out += ["## The answer", f"**{plain(said.headline)}**", *shown("answer")]
    out += [*map(plain, said.answer), "\n".join(f"> {plain(one)}" for one in said.caveats)]
    if said.treatments:
        out += ["## The classifier", *map(plain, said.treated)]
        for one in said.treatments:
            out += [f"### {one.measure} under {plain(spoken(one.over))} ({one.run})"]
            out += [treatments_markdown(one).rstrip()]
        if said.refused:
            out.append("\n".join(f"- {plain(name)}: {plain(why)}" for name, why in said.refused))
        out += shown("oracle")
    out += ["## What was measured", "\n".join(f"- {plain(one)}" for one in said.what)]
    if said.ladders:
        out.append("## The ladder")
        meanings = {row.title: row.meaning for ladder in said.ladders for row in ladder.rows}
        out.append("\n".join(f"- **{name}**: {text}" for name, text in meanings.items() if text))
        for ladder in said.ladders:
            out += [
                f"### {plain(spoken(ladder.over))} ({ladder.run})",
                ladder_markdown(ladder).rstrip(),
            ]
        out += [*shown("ladder"), *shown("experts")]
    if said.search or shown("search"):
        out += ["## Is there a better movement than h⁻¹?", *map(plain, said.search)]
        out += shown("search")
    if said.channels or shown("channels"):
        out += ["## Channels", *map(plain, said.channels), *shown("channels")]
    out.append("## Pitfalls that applied")
    for pit in said.pitfalls:
        seen = "\n".join(f"- {plain(line)}" for line in pit.seen)
        out += [f"### {pit.title}", seen]
        out += [f"{plain(pit.means)} *What to do:* {plain(pit.remedy)}"] if pit.means else []
    if not said.pitfalls:
        out.append("None of the known ones showed itself.")
    out += ["## Methods", *map(plain, said.methods.strip().split("\n\n")), "## Provenance"]
    for part in said.parts:
        facts = [("content hash", part.content_hash), *part.facts]
        out.append(f"### {part.name} ({part.kind})")
        out.append("\n".join(f"- {what}: {plain(value)}" for what, value in facts))
    out.append("## How to cite")
    out.append("\n".join(f"- {plain(one.text)} {one.url}".rstrip() for one in said.references))
    return "\n\n".join(part for part in out if part) + "\n"
