"""What the kernel offers to keep guests in. Tried where that is harmless; the ladder itself is climbed elsewhere."""

from propolis.decisions.capabilities.look import Look, number, words
from propolis.terms.finding import Fact, State
from propolis.terms.recording import Outcome

LANDLOCK = "call:landlock-abi"
SECCOMP = "file:/proc/sys/kernel/seccomp/actions_avail"
STATUS = "file:/proc/self/status"
USERNS = "file:/proc/sys/user/max_user_namespaces"
USERNS_SWITCHES = (
    ("file:/proc/sys/kernel/unprivileged_userns_clone", "0"),
    ("file:/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
)
UNSHARE = "command:unshare --user --map-root-user true"
CONTROLLERS = ("file:/sys/fs/cgroup/cgroup.controllers", "file:/sys/fs/cgroup/unified/cgroup.controllers")
SECRET = "call:memfd-secret"  # noqa: S105  the name of a system call
MOST_ABI = 100


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [_landlock(look), _seccomp(look), _users(look), _cgroups(look), _secret(look), _no_new(look)]


def _landlock(look: Look) -> Fact:
    abi = number(look.recording.text(LANDLOCK))
    if abi and abi <= MOST_ABI:
        return look.fact("isolation.landlock", State.USABLE, value=f"ABI {abi}", how="landlock_create_ruleset")
    more = "Linux 5.13 or newer, with landlock among lsm="
    return look.nothing("isolation.landlock", LANDLOCK, how="the kernel has no such call, or it is off", more=more)


def _seccomp(look: Look) -> Fact:
    text = look.recording.text(SECCOMP)
    if text and "kill_process" in text.split():
        return look.fact("isolation.seccomp", State.USABLE, value=text, how="kernel.seccomp.actions_avail")
    return look.nothing("isolation.seccomp", SECCOMP, more="Linux 4.14 or newer with seccomp filters")


def _users(look: Look) -> Fact:
    name, most = "isolation.user-namespaces", number(look.recording.text(USERNS))
    if look.recording.text(UNSHARE) is not None and not look.recording.root:
        return look.fact(name, State.USABLE, how="done: unshare --user")
    off = [key for key, value in USERNS_SWITCHES if look.recording.text(key) == value]
    if off or most == 0:
        path = (off[0] if off else USERNS).partition(":")[2]
        return look.fact(name, State.PRESENT, value="off", how=path, more=f"the setting {path}")
    if look.recording.at(UNSHARE).outcome is Outcome.FAILED:
        return look.fact(
            name, State.PRESENT, value="refused", how="tried: unshare --user", more="a policy that allows it"
        )
    if most:
        note = "as root it proves nothing for users" if look.recording.root else "not tried"
        return look.fact(name, State.ENABLED, how=words(f"user.max_user_namespaces; {note}"))
    return look.nothing(name, USERNS, UNSHARE, more="a kernel with user namespaces")


def _cgroups(look: Look) -> Fact:
    for key in CONTROLLERS:
        text = look.recording.text(key)
        if text is not None:
            value = "version 2" + (f": {text}" if text else ", no controllers")
            return look.fact("isolation.cgroups", State.ENABLED, value=value, how=key.partition(":")[2])
    return look.nothing("isolation.cgroups", *CONTROLLERS, how="no version 2", more="cgroups of version 2")


def _secret(look: Look) -> Fact:
    if look.recording.text(SECRET) is not None:
        return look.fact("isolation.memfd-secret", State.USABLE, how="memfd_secret")
    more = "Linux 5.14 or newer, secretmem.enable=1"
    return look.nothing("isolation.memfd-secret", SECRET, how="the kernel refuses the call", more=more)


def _no_new(look: Look) -> Fact:
    text = look.recording.text(STATUS) or ""
    if "NoNewPrivs:" in text:
        return look.fact("isolation.no-new-privileges", State.USABLE, how="/proc/self/status")
    return look.nothing("isolation.no-new-privileges", STATUS, more="Linux 3.5 or newer")
