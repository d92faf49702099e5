"""Appraisal: evidence in, facts or a reason out; then facts by a policy into claims. One file per technology."""
