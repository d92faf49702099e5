"""Strategies for any message of ours, built from its type: fields at their bounds, ids from a pool that hits what exists."""

import msgspec
from hypothesis import strategies as st


def of(kind, pool=()):
    """Return a strategy for values of `kind` that pass the codec; `pool` holds byte strings that mean something."""
    return _of(msgspec.inspect.type_info(kind), tuple(pool))


def _of(info, pool):
    match info:
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: _of(field.type, pool) for field in fields})
        case msgspec.inspect.UnionType(types=types):
            return st.one_of([_of(kind, pool) for kind in types])
        case msgspec.inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            return st.lists(_of(item, pool), min_size=least or 0, max_size=min(most or 6, 6)).map(tuple)
        case msgspec.inspect.BytesType(min_length=least, max_length=most):
            least, most = least or 0, most if most is not None else 40
            fitting = [value for value in pool if least <= len(value) <= most]
            other = st.binary(min_size=least, max_size=max(least, min(most, 40)))
            return st.sampled_from(fitting) | other if fitting else other
        case msgspec.inspect.IntType(ge=least, le=most, lt=below):
            most = below - 1 if below is not None else most
            low, high = -(2**63) if least is None else least, 2**64 - 1 if most is None else most
            return st.integers(max(low, -3), min(high, max(low, -3) + 60)) | st.integers(low, high)
        case msgspec.inspect.FloatType(ge=least, gt=above, le=most):
            low = least if least is not None else above
            return st.floats(min_value=low, exclude_min=above is not None, max_value=most)
        case msgspec.inspect.StrType(pattern=pattern, max_length=most) if pattern:
            return st.from_regex(pattern.removesuffix("$") + r"\Z", alphabet=st.characters(codec="ascii")).filter(
                lambda text: most is None or len(text) <= most
            )
        case msgspec.inspect.StrType(max_length=most):
            words = ["", "linux", "3.11", "\x1b[31m", "jobs", "nodes", "explain"]
            return st.sampled_from([word for word in words if most is None or len(word) <= most]) | st.text(
                max_size=min(most or 20, 20)
            )
        case msgspec.inspect.TupleType(item_types=items):
            return st.tuples(*[_of(item, pool) for item in items])
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.EnumType(cls=cls):
            return st.sampled_from(cls)
        case msgspec.inspect.CustomType() | msgspec.inspect.AnyType():
            return st.none()
        case _:
            raise NotImplementedError(str(info))
