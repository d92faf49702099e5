"""Roots under which makers endorse TPMs, by SHA-256 of their keys, and what kind of TPM each stands for (attestation.md, 4).

Computed from the certificates the makers publish, as collected in a public store of TPM roots; checked against recorded
endorsements. Missing, because no copy was at hand: AMD's firmware TPMs, Qualcomm's, Microsoft's Pluton, Nationz' root.
"""

from enum import StrEnum

import msgspec


class Make(StrEnum):
    """What keeps a TPM's secrets."""

    CHIP = "chip"  # a chip of its own
    FIRMWARE = "firmware"  # in the processor
    VIRTUAL = "virtual"  # a cloud provider's word: its host sees everything


class Maker(msgspec.Struct, frozen=True):
    """Who endorses."""

    name: str
    make: Make


ROOTS = {
    "0035d2297fe237a636800382cc2c9e205c6930f84b507ceec3608545d273960f": Maker("GlobalSign TPM Root CA", Make.CHIP),
    "ba4060c13257f1fab1191f8e7d3fb0bbc43915eb1fe4f89b35ab74acd9bb2681": Maker("Infineon IFX TPM EK Root", Make.CHIP),
    "ce5183a19d6fe79a6c1b058cfa700379f67d587a8afd0f51621e82d9f00c5a28": Maker("Infineon OPTIGA ECC Root", Make.CHIP),
    "8a705088efa28a3845b35c7fcbf9c0f4bf46c77da18a6f1a173eb9074610cbd0": Maker("Infineon OPTIGA RSA Root", Make.CHIP),
    "b9e2d0d69753c717df3f14464a6cda088f5d1fda07ffce506baa3288419366df": Maker("STM TPM ECC Root CA 01", Make.CHIP),
    "1054058a985eb8135bfd59f96a4943824255d3e7a07179c38d058b5399a53882": Maker("STM TPM EK Root CA", Make.CHIP),
    "e5011fae73883ff1e33954c975402a28dfdf87117e6e06cce3265519135420bd": Maker("Nuvoton NTC TPM EK Root 01", Make.CHIP),
    "30c2e5fb9fe11bb2d2d8f59d8bdbe2ef7a5e86e2a24d5f44556404b528957921": Maker("Nuvoton NTC TPM EK Root 02", Make.CHIP),
    "2b40169e346867de502a647990f4d771980765f9cbef5c823380f3aa9626da53": Maker("Nuvoton TPM Root CA 0100", Make.CHIP),
    "b7f4414b44f1787f046aec866693cda643239b3d0f6998d0ad4adb841e4bd0db": Maker("Nuvoton TPM Root CA 1110", Make.CHIP),
    "c871b0ba1182676eeed4c2469d3d5fa3cfa09daca77ea823a4b454cf00dee11e": Maker("Nuvoton TPM Root CA 1111", Make.CHIP),
    "b54c81a52159aaf524c88dcf5a7e7a6f5f9ec2f4e69aee0bb3897f0c65e4faea": Maker("Nuvoton TPM Root CA 2110", Make.CHIP),
    "95b8ab2c350f58064c30a217f07e0a3353915edee572c5fb2ebcf8fa3f87a813": Maker("Nuvoton TPM Root CA 2111", Make.CHIP),
    "baf3caf0db083d8155424bb24d6fbbd8ba7487fc5b3ca45d3eb6b2b2e4656ade": Maker("Intel TPM EK Root", Make.FIRMWARE),
    "56a613f57126a385dd6949294e93b0b566f96ab0573be0c2368e6f5ca779831f": Maker("Google EK/AK CA Root", Make.VIRTUAL),
    "f23057f4f97d1d90e4cae0ce91d5a0fc99069f0a1bc147021dca33b1e9c4d0d9": Maker("Google TPM EK Root 1", Make.VIRTUAL),
    "09bf17d50158ea4a4929870e0f287c3bc4edc60a4dc395c8e0ebfa1a4350b12e": Maker("Alibaba Cloud vTPM EK CA", Make.VIRTUAL),
}
