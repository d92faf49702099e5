"""The membership family: joining by invitation, coming back, being let in or turned away (docs/specs/membership.md)."""
