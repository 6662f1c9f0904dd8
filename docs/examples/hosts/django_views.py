"""Views of a Django project, which WSGI and ASGI servers run.

urlpatterns = [path("conversations/<conversation_id>", django_views.rename)]
"""

import json

from django.http import HttpRequest, JsonResponse

from omi_async import AsyncOmiClient
from omi_sync import OmiClient

omi = OmiClient()
async_omi = AsyncOmiClient()


def rename(request: HttpRequest, conversation_id: str) -> JsonResponse:
    conversation = omi.conversations.update(conversation_id, title=json.loads(request.body)["title"])
    return JsonResponse({"id": conversation.id, "title": conversation.structured.title})


async def rename_async(request: HttpRequest, conversation_id: str) -> JsonResponse:  # for ASGI servers only
    conversation = await async_omi.conversations.update(conversation_id, title=json.loads(request.body)["title"])
    return JsonResponse({"id": conversation.id, "title": conversation.structured.title})
