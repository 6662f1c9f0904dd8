"""A program of APScheduler 3, which shows the open action items every so many seconds.

python apscheduler_jobs.py 900
"""

import signal
import sys

from apscheduler.schedulers.blocking import BlockingScheduler

from omi_sync import OmiClient, OmiError

omi = OmiClient()  # shared by the scheduler's threads
scheduler = BlockingScheduler()


@scheduler.scheduled_job("interval", seconds=float(sys.argv[1]), coalesce=True)
def show() -> None:
    try:
        items = [item.description for item in omi.action_items.list(completed=False)]
    except OmiError as error:
        print("next time perhaps:", error)
    else:
        print(len(items), "open:", ", ".join(items))


signal.signal(signal.SIGTERM, lambda *_: scheduler.shutdown())  # waits for the job that is under way
with omi:
    scheduler.start()
