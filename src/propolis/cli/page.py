"""The outlook as one page to share: plain HTML and its style, no script, nothing loaded from elsewhere, readable on a phone.

Only what is listed in SHOWN is taken from a machine as text, so that no name, number or address of it can get on the page.
"""

from html import escape

import propolis
from propolis.cli.outlook import OURS, UNSEEN, found, protects
from propolis.cli.outlook import proven as proven_of
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.outlook import Line, Outlook
from propolis.terms.finding import Fact, State
from propolis.terms.requirement import Adversary, Asset, Level
from propolis.terms.text import one_line

SHOWN = ("processor.model", "processor.cores", "memory.size", "accelerator.gpu", "system.name", "tpm.maker", "tpm.kind")
_MOST = 60
_HEADS = {
    Adversary.NETWORK: "network",
    Adversary.CO_TENANT: "other jobs",
    Adversary.MALWARE: "malware",
    Adversary.LENDER: "owner",
    Adversary.CHEAP_PHYSICAL: "owner, tools",
    Adversary.LABORATORY: "lab",
    Adversary.THIEF: "thief",
}
_LEVELS = {
    Level.PROOF: ("proof", "proof", "by cryptography alone"),
    Level.HARDWARE: ("chip", "chip", "on claims a chip attested"),
    Level.EMPIRICAL: ("tested", "tested", "attacked by us, and held"),
    Level.NONE: ("none", "·", "nothing protects it"),
}
_STYLE = """
:root{--ink:#22262b;--soft:#626b75;--line:#dfe3e7;--paper:#fff;--back:#f4f1ea;--proof:#1c7a4d;--chip:#2a5fc4;--tested:#a86a00;
--could:#7a5ac2;--bad:#b3261e;--honey:#e0a526}
@media(prefers-color-scheme:dark){:root{--ink:#e9e6df;--soft:#a3abb3;--line:#3a4047;--paper:#1f2327;--back:#15181b;--proof:#3fae78;
--chip:#7ea6f4;--tested:#e0a526;--could:#b69cf2;--bad:#f2847c}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:720px;margin:0 auto;padding:20px 14px 36px}
header{display:flex;gap:12px;align-items:center}
header svg{flex:none}
h1{font-size:21px;line-height:1.2;margin:0}
h2{font-size:12px;letter-spacing:.07em;text-transform:uppercase;color:var(--soft);margin:26px 0 8px;font-weight:650}
p{margin:6px 0}
.soft{color:var(--soft);font-size:13px}
.machine{display:flex;flex-wrap:wrap;gap:6px;margin:14px 0 0;padding:0;list-style:none}
.machine li{background:var(--paper);border:1px solid var(--line);border-radius:999px;padding:3px 11px;font-size:13px}
.verdict{background:var(--paper);border:1px solid var(--line);border-left:5px solid var(--honey);border-radius:9px;
padding:11px 14px;margin:16px 0 0}
.verdict b{font-size:16.5px}
table{width:100%;border-collapse:separate;border-spacing:3px;table-layout:fixed}
th{font-size:10.5px;line-height:1.15;font-weight:500;color:var(--soft);padding:0 0 3px;vertical-align:bottom;
overflow-wrap:anywhere}
@media(max-width:480px){thead th{font-size:9px}}
th b{display:block;font-size:12.5px;color:var(--ink)}
tbody th{text-align:left;font-size:12.5px;color:var(--ink);width:21%;vertical-align:middle;padding:0 4px 0 0}
thead th:first-child{width:21%}
td{height:38px;text-align:center;border-radius:7px;font-size:11px;font-weight:650;border:1px solid var(--line);color:var(--soft);
background:var(--paper)}
.proof{background:var(--proof);border-color:var(--proof);color:#fff}
.chip{background:var(--chip);border-color:var(--chip);color:#fff}
.tested{background:var(--tested);border-color:var(--tested);color:#fff}
.could{border:1.5px dashed var(--could);color:var(--could)}
@media(prefers-color-scheme:dark){.proof,.chip,.tested{color:#15181b}}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;margin:8px 0 0;padding:0;list-style:none;font-size:12px;color:var(--soft)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px;vertical-align:-1px;
border:1px solid var(--line)}
.legend i.could{border:1.5px dashed var(--could)}
article{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:11px 14px;margin:0 0 8px}
article h3{font-size:15px;margin:0;display:flex;flex-wrap:wrap;gap:5px 8px;align-items:baseline;justify-content:space-between}
.state{font-size:11.5px;font-weight:600;border-radius:999px;padding:1px 9px;border:1px solid var(--line);color:var(--soft);
white-space:nowrap}
.state.usable,.state.enabled{color:var(--proof);border-color:var(--proof)}
.state.ours{color:var(--chip);border-color:var(--chip)}
dl{margin:6px 0 0;display:grid;grid-template-columns:auto 1fr;gap:3px 10px;font-size:13.5px}
dt{color:var(--soft)}
dd{margin:0}
.bad{border-left:5px solid var(--bad)}
footer{margin-top:26px;border-top:1px solid var(--line);padding-top:12px}
"""
_COMB = (
    '<svg width="46" height="46" viewBox="0 0 46 46" role="img" aria-label="propolis"><g fill="none" stroke="#e0a526" '
    'stroke-width="2.6" stroke-linejoin="round"><path d="M23 3l8.7 5v10L23 23l-8.7-5V8z" fill="#e0a526" fill-opacity=".85"/>'
    '<path d="M13.5 20l8.7 5v10l-8.7 5-8.7-5V25z"/><path d="M32.5 20l8.7 5v10l-8.7 5-8.7-5V25z" fill="#e0a526" '
    'fill-opacity=".3"/></g></svg>'
)


def page_of(outlook: Outlook) -> str:
    """Return the page."""
    title = "<h1>What this computer can promise</h1>"
    day = f'<p class="soft">seen on {escape(outlook.date)} by propolis doctor</p>'
    parts = [
        f"<header>{_COMB}<div>{title}{day}</div></header>",
        _machine(outlook), _verdict(outlook), _contradictions(outlook), _levels(outlook), _technologies(outlook),
        _raise(outlook), _foot(),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>What this computer can promise</title><style>{_STYLE}</style></head>\n"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _say(text: str) -> str:
    return escape(one_line(text))


def _machine(outlook: Outlook) -> str:
    units = [_unit(f) for name in SHOWN for f in outlook.facts if f.name == name and f.found and f.value]
    guest = next((f for f in outlook.facts if f.name == "virtual.guest"), None)
    units += ["a virtual machine"] if guest is not None and guest.found else []
    return f'<ul class="machine">{"".join(f"<li>{_say(each)}</li>" for each in units)}</ul>' if units else ""


def _unit(fact: Fact) -> str:
    """Return a fact in a few words."""
    value = fact.value[:_MOST].replace("(R)", "").replace("(TM)", "")
    match fact.name:
        case "processor.cores":
            return f"{value} cores"
        case "memory.size":
            number = value.partition(" ")[0]
            return f"{round(int(number) / 1024)} GB of memory" if number.isdigit() and len(number) < 12 else value
        case "accelerator.gpu":
            return f"graphics: {value}"
        case "tpm.maker" | "tpm.kind":
            return f"TPM: {value}"
    return value


def _verdict(outlook: Outlook) -> str:
    proven = [f"{line.title}: {proven_of(line)}" for line in outlook.lines if line.proven]
    what = f"<b>Proven: {_say('; '.join(proven))}.</b>" if proven else "<b>Nothing is proven yet.</b>"
    host = " It may be a virtual machine, whose host could say anything." if outlook.guest else ""
    return (
        f'<section class="verdict">{what}<p class="soft">What is detected is this computer\'s own word, worth nothing against '
        f"its own owner: only what a verifier concluded from evidence counts.{host}</p></section>"
    )


def _contradictions(outlook: Outlook) -> str:
    if not outlook.contradictions:
        return ""
    said = "".join(f"<p>{_say(each.says)}</p>" for each in outlook.contradictions[:8])
    return f'<h2>It contradicts itself</h2><article class="bad">{said}<p class="soft">None of it is believed.</p></article>'


def _levels(outlook: Outlook) -> str:
    could = {
        (cell.asset, cell.adversary)
        for line in outlook.lines
        for cell in line.could
        if found(line) and cell.level > outlook.level(cell.asset, cell.adversary)
    }
    heads = "".join(f'<th scope="col"><b>{who.label}</b>{escape(words)}</th>' for who, words in _HEADS.items())
    rows = "".join(
        f'<tr><th scope="row">{asset.value.replace("-", " ")}</th>'
        + "".join(_cell(outlook.level(asset, who), could=(asset, who) in could) for who in Adversary)
        + "</tr>"
        for asset in Asset
    )
    legend = "".join(f'<li><i class="{kind}"></i><b>{word}</b> {words}</li>' for kind, word, words in _LEVELS.values())
    legend += '<li><i class="could"></i><b>could</b> something that is here, once it is shown to hold</li>'
    return (
        "<h2>What is protected today, and from whom</h2>"
        f'<table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table><ul class="legend">{legend}</ul>'
    )


def _cell(level: Level, *, could: bool) -> str:
    kind, word, _ = _LEVELS[level]
    if could:
        kind, word = f"{kind} could" if level is Level.NONE else kind, "could" if level is Level.NONE else word
    return f'<td class="{kind}">{word}</td>'


def _technologies(outlook: Outlook) -> str:
    cards = "".join(_card(line) for line in outlook.lines if found(line))
    rest = [
        (words, [line.title for line in outlook.lines if line.state is state and line.technology not in UNSEEN])
        for words, state in (("Not here", State.ABSENT), ("Could not be told", State.UNKNOWN))
    ]
    told = "".join(f'<p class="soft"><b>{words}:</b> {_say(", ".join(names))}</p>' for words, names in rest if names)
    return f"<h2>What is in it</h2>{cards}{told}"


def _card(line: Line) -> str:
    ours = line.technology in OURS
    kind, word = ("ours", "part of propolis") if ours else (str(line.state), str(line.state))
    terms = [
        ("protects", "; ".join(protects(line)) or "nothing by itself"),
        ("proven", proven_of(line) if line.proven else ""),
    ]
    terms += [("" if ours else "to raise it", "" if ours else line.raises)]
    terms += [("broken", "; ".join(line.breaks[:3]) + (" …" if len(line.breaks) > 3 else ""))] if line.breaks else []
    listed = "".join(f"<dt>{name}</dt><dd>{_say(text)}</dd>" for name, text in terms if name and text)
    return f'<article><h3>{_say(line.title)}<span class="state {kind}">{word}</span></h3><dl>{listed}</dl></article>'


def _raise(outlook: Outlook) -> str:
    told: dict[str, list[str]] = {}
    for fact in outlook.facts:
        if fact.more and (fact.state is State.UNKNOWN or fact.state is State.PRESENT):
            told.setdefault(fact.more, []).append(CATALOGUE[fact.name])
    if not told:
        return ""
    lines = "".join(f"<dt>{_say(_few(names))}</dt><dd>{_say(more)}</dd>" for more, names in list(told.items())[:12])
    return f"<h2>What would tell more, or switch it on</h2><article><dl>{lines}</dl></article>"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _foot() -> str:
    who = "A3 is whoever owns the machine and has root; A4 comes with a soldering iron; A5 a laboratory; T takes it switched off."
    return (
        f'<footer class="soft"><p>{who} A level counts against the adversary it stands under, and says nothing of the next.</p>'
        f"<p>propolis {escape(propolis.__version__)}. This page has no script, loads nothing, and names no person or machine.</p>"
        "</footer>"
    )
