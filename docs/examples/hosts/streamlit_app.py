"""A Streamlit page, which all sessions' runs give one client.

streamlit run streamlit_app.py
"""

import streamlit as st

from omi_sync import Conversation, OmiClient, to_dict


@st.cache_resource
def client() -> OmiClient:
    return OmiClient()


@st.cache_data(ttl=60)
def conversations() -> list[Conversation]:
    return list(client().conversations.list(limit=20))


@st.cache_data(hash_funcs={Conversation: to_dict})
def words(conversation: Conversation) -> int:
    return len(conversation.structured.overview.split())


for conversation in conversations():
    st.write(conversation.structured.title, words(conversation))
