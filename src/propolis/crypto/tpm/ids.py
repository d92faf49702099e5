"""The numbers of TPM 2.0 that we use (TPM 2.0 Library, Part 2; TCG Algorithm Registry). Nothing is here that nobody uses."""

from enum import IntEnum, IntFlag


class Alg(IntEnum):
    """TPM_ALG_ID."""

    RSA = 0x0001
    SHA1 = 0x0004
    AES = 0x0006
    KEYEDHASH = 0x0008
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    NULL = 0x0010
    RSASSA = 0x0014
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    ECC = 0x0023
    SYMCIPHER = 0x0025
    CFB = 0x0043


class Curve(IntEnum):
    """TPM_ECC_CURVE."""

    P256 = 0x0003
    P384 = 0x0004


class Command(IntEnum):
    """TPM_CC."""

    NV_UNDEFINE_SPACE = 0x122
    EVICT_CONTROL = 0x120
    CLEAR = 0x126
    HIERARCHY_CHANGE_AUTH = 0x129
    NV_DEFINE_SPACE = 0x12A
    CREATE_PRIMARY = 0x131
    NV_INCREMENT = 0x134
    NV_WRITE = 0x137
    DICTIONARY_ATTACK_LOCK_RESET = 0x139
    PCR_RESET = 0x13D
    STARTUP = 0x144
    SHUTDOWN = 0x145
    ACTIVATE_CREDENTIAL = 0x147
    CERTIFY = 0x148
    POLICY_NV = 0x149
    NV_READ = 0x14E
    POLICY_SECRET = 0x151
    CREATE = 0x153
    IMPORT = 0x156
    LOAD = 0x157
    QUOTE = 0x158
    UNSEAL = 0x15E
    CONTEXT_LOAD = 0x161
    CONTEXT_SAVE = 0x162
    FLUSH_CONTEXT = 0x165
    LOAD_EXTERNAL = 0x167
    MAKE_CREDENTIAL = 0x168
    NV_READ_PUBLIC = 0x169
    POLICY_AUTHORIZE = 0x16A
    POLICY_AUTH_VALUE = 0x16B
    READ_PUBLIC = 0x173
    START_AUTH_SESSION = 0x176
    VERIFY_SIGNATURE = 0x177
    GET_CAPABILITY = 0x17A
    GET_RANDOM = 0x17B
    PCR_READ = 0x17E
    POLICY_PCR = 0x17F
    READ_CLOCK = 0x181
    PCR_EXTEND = 0x182
    POLICY_GET_DIGEST = 0x189


class Handle(IntEnum):
    """Permanent handles and the reserved places of TCG profiles."""

    OWNER = 0x40000001
    NULL = 0x40000007
    PASSWORD = 0x40000009
    LOCKOUT = 0x4000000A
    ENDORSEMENT = 0x4000000B
    PLATFORM = 0x4000000C
    EK_RSA = 0x81010001
    EK_ECC = 0x81010002
    CERT_RSA = 0x01C00002
    CERT_ECC = 0x01C0000A


class Attribute(IntFlag):
    """TPMA_OBJECT."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18


class NvAttribute(IntFlag):
    """TPMA_NV."""

    OWNER_WRITE = 1 << 1
    AUTH_WRITE = 1 << 2
    COUNTER = 1 << 4
    POLICY_DELETE = 1 << 10
    OWNER_READ = 1 << 17
    AUTH_READ = 1 << 18
    NO_DA = 1 << 25
    WRITTEN = 1 << 29


class Tag(IntEnum):
    """TPM_ST."""

    NO_SESSIONS = 0x8001
    SESSIONS = 0x8002
    ATTEST_NV = 0x8014
    ATTEST_CERTIFY = 0x8017
    ATTEST_QUOTE = 0x8018
    ATTEST_TIME = 0x8019
    VERIFIED = 0x8022


class SessionKind(IntEnum):
    """TPM_SE."""

    HMAC = 0
    POLICY = 1
    TRIAL = 3


class SessionAttribute(IntFlag):
    """TPMA_SESSION."""

    CONTINUE = 1
    DECRYPT = 1 << 5
    ENCRYPT = 1 << 6
    AUDIT = 1 << 7


class Compare(IntEnum):
    """TPM_EO: how PolicyNV compares."""

    EQ = 0
    UNSIGNED_LE = 9


MAGIC = 0xFF544347  # TPM_GENERATED_VALUE: what a TPM wrote itself
