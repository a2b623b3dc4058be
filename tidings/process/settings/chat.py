"""Settings of the chat.

A function takes the group that it needs, and no other.

    settings.chat.bind  # TIDINGS_CHAT_BIND
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tidings.process.settings.group import Bind, Group, check_origin, group_config


def _check_url(value: str) -> str:
    return check_origin(value) if value else value


class ChatSettings(Group):
    """Where the chat listens, and where its readers find it."""

    model_config = group_config("CHAT_")

    bind: Bind = Field("127.0.0.1:8001", description="WebSockets and HTTP of the chat")
    metrics_bind: Bind = Field("127.0.0.1:8103", description="/metrics of the chat")
    url: Annotated[str, AfterValidator(_check_url)] = Field(
        "",
        description="the origin where pages find the chat, such as https://news.example; default: "
        "the host they came to, at the port of BIND, or over HTTPS that of the page itself",
    )
