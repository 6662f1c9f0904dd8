"""A Telegram bot, of python-telegram-bot, which answers questions about the user's conversations.

BOT_TOKEN=... python telegram_bot.py
"""

import os

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters

from omi_async import AsyncOmiClient, OmiError

omi = AsyncOmiClient()


async def answer(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    if update.message and update.message.text:
        try:
            found = await omi.conversations.ask(update.message.text)
            text = found.answer
        except OmiError as error:
            text = f"No answer: {error.text}"
        await update.message.reply_text(text)


async def close(_: object) -> None:
    await omi.aclose()


builder = Application.builder().token(os.environ["BOT_TOKEN"]).concurrent_updates(True).post_shutdown(close)
bot = builder.base_url(os.environ.get("BOT_API", "https://api.telegram.org/bot")).build()
bot.add_handler(MessageHandler(filters.TEXT, answer))
bot.run_polling()
