"""What is read off the generated code."""

from __future__ import annotations

from tidings.rpc.wire.service import methods_of
from tidings_idl.base.ttypes import Error
from tidings_idl.recommend import UserRecommend
from tidings_idl.recommend.ttypes import UserRequest


def test_the_methods_of_the_services_it_extends_are_there_too() -> None:
    """`is_healthy` comes from the base service, whose structs are in another module."""
    methods = methods_of(UserRecommend)

    assert {"is_healthy", "user_recommend", "report"} <= methods.keys()
    assert methods["user_recommend"].args_type(UserRequest(user_id=1)).request.user_id == 1


def test_what_a_method_returns_and_throws() -> None:
    """Only a declared exception may cross the wire in its own field."""
    recommend, health = (
        methods_of(UserRecommend)[name] for name in ("user_recommend", "is_healthy")
    )

    assert recommend.returns
    assert health.returns
    assert recommend.field_of(Error()) == "error"
    assert recommend.field_of(ValueError()) is None
    assert health.field_of(Error()) is None
