"""The sensors and schedules of the deployment, a module each.

Here belongs when something is asked for: intervals, cron, what a tick reads. Not here: the decision, which is a pure
function of `gtm_dagster/orchestration/`, and the runs themselves, which are jobs.
"""
