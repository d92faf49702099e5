"""What the world of whoever verifies does for Appraise: from a node's message to a conclusion (steps 4 to 12)."""

from propolis.crypto.binding import Purpose, bind
from propolis.decisions.appraisal import member
from propolis.decisions.weaknesses import Weaknesses
from propolis.protocols.attestation import events as ev
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected


def conclude(work: ev.Appraise, known: Weaknesses | None, now: Seconds) -> ev.Conclusion:
    """Do one Appraise: a node's evidence as a member. `now` in seconds since 1970. Raises nothing for what a node sent."""
    binding = bind(work.evidence.nonce, work.node, Purpose.MEMBER)
    try:
        shown = member.shown(work.evidence, work.body, work.rules.policy.bank)
        judged = member.judge(shown, binding, work.rules, known, now, before=work.before, leased=work.leased)
    except Rejected as error:
        return ev.Conclusion(reason=error.reason, text=str(error).removeprefix(f"{error.reason}: "))
    return ev.Conclusion(judged=judged)
